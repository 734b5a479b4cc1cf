"""What the shop says of its products, as columns that rules, filters and diversity read in bulk."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ingest.catalog import Product
from recommender.models.item_table import ItemTable
from recommender.models.protocol import grown

NO_CODE = -1
"""The code of a name that an item does not have; also the place of an item that nobody described."""

Codes = NDArray[np.int32]

_BELOW_MAX = 256
"""Categories whose table of levels is kept."""


class Names:
    """Names as dense codes, numbered as they are first met; a code is never given to another name."""

    def __init__(self) -> None:
        self._table = ItemTable()

    def code(self, name: str | None) -> int:
        """The code of `name`, a new one when it is first met; `NO_CODE` for no name."""
        return self._table.add(name) if name else NO_CODE

    def find(self, name: str | None) -> int:
        """The code of `name`, `NO_CODE` when no item has it."""
        row = self._table.row(name) if name else None
        return row if row is not None else NO_CODE

    @property
    def names(self) -> Sequence[str]:
        """Every name in the order of codes: a live view, not to be changed."""
        return self._table.ids


class Facts:
    """Columns over the catalogue's own numbering of items (`places`), which models do not share.

    Attributes:
        items: which item stands in which place; one that was taken out keeps its place, without facts.
        categories, roots, brands: the names behind the codes; a root is a category's first level.
        changes: grows with every change, so that caches know when they are old.
    """

    def __init__(self) -> None:
        self.items = ItemTable()
        self.categories = Names()
        self.roots = Names()
        self.brands = Names()
        self.changes = 0
        self._products: list[Product | None] = []
        self._price = np.full(0, np.nan)
        self._category: Codes = np.zeros(0, np.int32)
        self._root: Codes = np.zeros(0, np.int32)
        self._brand: Codes = np.zeros(0, np.int32)
        self._below: dict[str, NDArray[np.bool_]] = {}
        self._rows_of = ItemTable()
        self._places: Codes = np.zeros(0, np.int32)
        self._known = 0

    def __len__(self) -> int:
        return len(self.items)

    def describe(self, product: Product) -> int:
        """Take over all that is said of one item; its place."""
        place = self._place(product.item_id)
        self._products[place] = product
        self._price[place] = np.nan if product.price is None else product.price
        self._category[place] = self.categories.code(product.category)
        self._root[place] = self.roots.code(levels(product.category)[0] if product.category else None)
        self._brand[place] = self.brands.code(product.brand)
        self.changes += 1
        return place

    def forget(self, item_id: str) -> None:
        """The shop took it out: nothing is known of it any more."""
        place = self.items.row(item_id)
        if place is None:
            return
        self._products[place] = None
        self._price[place] = np.nan
        self._category[place] = self._root[place] = self._brand[place] = NO_CODE
        self.changes += 1

    def make_places(self, item_ids: Iterable[str]) -> None:
        """Give items that nobody described places without facts."""
        for item_id in item_ids:
            self._place(item_id)

    def product(self, item_id: str) -> Product | None:
        """All that is known of one item."""
        place = self.items.row(item_id)
        return self._products[place] if place is not None else None

    @property
    def products(self) -> Sequence[Product | None]:
        """By place, None where nothing is known any more: a live view, not to be changed."""
        return self._products

    @property
    def price(self) -> NDArray[np.float64]:
        """By place, NaN where unknown: a view."""
        return self._price[: len(self.items)]

    @property
    def category(self) -> Codes:
        """By place, codes of `categories`: a view."""
        return self._category[: len(self.items)]

    @property
    def root(self) -> Codes:
        """By place, codes of `roots`: a view."""
        return self._root[: len(self.items)]

    @property
    def brand(self) -> Codes:
        """By place, codes of `brands`: a view."""
        return self._brand[: len(self.items)]

    def below(self, category: str) -> NDArray[np.bool_]:
        """By category code: is it `category` or a level below it? False in the last place, where `NO_CODE` leads."""
        wanted, known = levels(category)[-1], len(self.categories.names)
        table = self._below.get(wanted)
        if table is None or len(table) != known + 1:
            if len(self._below) >= _BELOW_MAX:
                self._below.clear()
            table = np.array([*(wanted in levels(name) for name in self.categories.names), False])
            self._below[wanted] = table
        return table

    def places(self, items: ItemTable) -> Codes:
        """Shape (len(items),): the place of each row of a model's numbering, `NO_CODE` where nobody described it.

        A view that is kept and extended; asking again for the same table costs nothing.
        """
        if items is not self._rows_of:
            self._rows_of, self._known = items, 0
        count = len(items)
        if count > self._known:
            self._places = grown(self._places, count, NO_CODE)
            find = self.items.row
            found = [NO_CODE if (place := find(item_id)) is None else place for item_id in items.ids[self._known :]]
            self._places[self._known : count] = found
            self._known = count
        return self._places[:count]

    def of_rows(self, column: Codes, items: ItemTable, begin: int = 0) -> Codes:
        """`column` (by place) by the rows of `items` from `begin` on; `NO_CODE` for rows that nobody described."""
        places = self.places(items)[begin:]
        if not len(column):
            return np.full(len(places), NO_CODE, np.int32)
        return np.where(places >= 0, column[places], np.int32(NO_CODE))

    def _place(self, item_id: str) -> int:
        place = self.items.row(item_id)
        if place is not None:
            return place
        place = self.items.add(item_id)
        self._products.append(None)
        if place >= len(self._price):
            self._price = grown(self._price, place + 1, np.nan)
            self._category = grown(self._category, place + 1, NO_CODE)
            self._root = grown(self._root, place + 1, NO_CODE)
            self._brand = grown(self._brand, place + 1, NO_CODE)
        row = self._rows_of.row(item_id)
        if row is not None and row < self._known:
            self._places[row] = place
        return place


def levels(category: str) -> list[str]:
    """`"Home > Kitchen"` as `["Home", "Home > Kitchen"]`: a category and all above it, the widest first.

    Levels are parted by `>` or `/`; a name that is nothing but those has one level, itself.
    """
    return list(_levels(category))


# A catalogue of 100,000 products has some hundred categories, and each product asks twice.
@lru_cache(maxsize=4_096)
def _levels(category: str) -> tuple[str, ...]:
    parts = [part.strip() for part in category.replace("/", ">").split(">")]
    named = [part for part in parts if part] or [category]
    return tuple([" > ".join(named[: level + 1]) for level in range(len(named))])
