"""The catalogue as columns: one value an item, in arrays that expressions are computed over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.catalog import Product
from recommender.facts import Facts
from recommender.filters.fields import FEATURES, FIELDS, fact
from recommender.filters.texts import MISSING_TEXT, Texts
from recommender.models.item_table import ItemTable
from recommender.models.protocol import grown

_DTYPES: dict[str, tuple[type[np.generic], float]] = {
    "number": (np.float64, np.nan),
    "text": (np.int32, MISSING_TEXT),
    "truth": (np.bool_, True),
}

# Shorter than an item id may be.
_NOBODYS_ID = ""


class Column:
    """One field of every item: numbers with NaN, texts as codes with `MISSING_TEXT`, truths.

    `changes` grows whenever a value or the number of rows changes, so that what was computed knows when it is old.
    """

    def __init__(self, name: str, texts: Texts) -> None:
        self.name = name
        self.changes = 0
        self._texts = texts if FIELDS[name] == "text" else None
        dtype, self._fill = _DTYPES[FIELDS[name]]
        self._values: NDArray[Any] = np.empty(0, dtype)
        self._rows = 0

    @property
    def values(self) -> NDArray[Any]:
        """Shape (rows,), a view; not to be changed."""
        return self._values[: self._rows]

    def reserve(self, rows: int) -> None:
        """There are `rows` rows now; new ones are missing."""
        if rows > self._rows:
            self._values = grown(self._values, rows, self._fill)
            self._rows = rows
            self.changes += 1

    def set(self, row: int, value: float | str | bool | None) -> None:
        """One item's value from now on."""
        was = self._values[row]
        stored: Any = self._fill if value is None else value
        if self._texts is not None:
            stored = self._texts.taken(str(value)) if value is not None else MISSING_TEXT
            self._texts.let_go(int(was))
        if stored != was:
            self._values[row] = stored
            self.changes += 1

    def fill(self, values: Sequence[float | str | bool | None]) -> None:
        """Every item's value at once, on a column that holds none yet: a fifth of the time of one by one."""
        self.reserve(len(values))
        if self._texts is not None:
            taken = self._texts.taken
            self.values[:] = [taken(value) if value is not None else MISSING_TEXT for value in values]  # type: ignore[arg-type]
        else:
            self.values[:] = [self._fill if value is None else value for value in values]
        self.changes += 1

    def replace(self, rows: NDArray[np.int32], values: NDArray[Any]) -> None:
        """`values` at `rows`, missing everywhere else."""
        self._values[:] = self._fill
        self._values[rows] = values
        self.changes += 1


class Columns:
    """The fields of `facts` by name, in its places; a field becomes a column when it is first asked for.

    An item that only a model knows gets a place too, without facts.
    """

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts if facts is not None else Facts()
        self.texts = Texts()
        self._columns: dict[str, Column] = {}
        self._followed: tuple[ItemTable | None, int] = (None, 0)

    def __len__(self) -> int:
        return len(self.facts)

    def put(self, item_id: str, product: Product | None) -> None:
        """The catalogue's word from now on; None: nothing is known of it any more."""
        if product is None:
            self.facts.forget(item_id)
            place = self.facts.items.row(item_id)
        else:
            place = self.facts.describe(product)
        if place is None:
            return
        for name, column in self._columns.items():
            if name not in FEATURES:
                column.reserve(len(self))
                column.set(place, item_id if name == "item_id" else fact(product, name))

    def put_feature(self, name: str, items: ItemTable, values: NDArray[Any]) -> None:
        """A model's feature: `values` in the order of `items`, of as many of them as it has."""
        self.follow(items)
        self.column(name).replace(self.facts.places(items)[: len(values)], values)

    def column(self, name: str) -> Column:
        """A field of every item.

        Raises:
            KeyError: none of `FIELDS`.
        """
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Column(name, self.texts)
            if name in FEATURES:
                column.reserve(len(self))
            else:
                products = self.facts.products
                column.fill(self.facts.items.ids if name == "item_id" else [fact(of, name) for of in products])
        elif len(column.values) < len(self):
            self._catch_up(column)
        return column

    def follow(self, items: ItemTable) -> None:
        """Give every item of `items` a place; before values are computed that `on` is to read."""
        followed, count = self._followed
        if items is not followed or count != len(items):
            places = self.facts.places(items)
            if len(places) and places.min() < 0:
                self.facts.make_places(items.ids)
            self._followed = (items, len(items))

    def unknown_place(self) -> int:
        """The place that stands for every item nobody spoke of; asking for one by one must not make the table grow."""
        self.facts.make_places((_NOBODYS_ID,))
        place = self.facts.items.row(_NOBODYS_ID)
        assert place is not None, "just made"
        return place

    def on(self, items: ItemTable, values: NDArray[Any]) -> NDArray[Any]:
        """What `values` (one for each place) are in a model's rows; shape (len(items),), fresh. `follow` first."""
        on_items: NDArray[Any] = values[self.facts.places(items)]
        return on_items

    def _catch_up(self, column: Column) -> None:
        """Places that a model brought: nobody described them."""
        begin = len(column.values)
        column.reserve(len(self))
        if column.name == "item_id":
            for place in range(begin, len(self)):
                column.set(place, self.facts.items.item_id(place))
