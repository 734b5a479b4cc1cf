"""The catalogue as columns: one value an item, in arrays that expressions are computed over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.catalog import Product
from recommender.filters.fields import FEATURES, FIELDS, fact
from recommender.filters.texts import MISSING_TEXT, Texts
from recommender.models.item_table import ItemTable
from recommender.models.protocol import grown

_DTYPES: dict[str, tuple[type[np.generic], float]] = {
    "number": (np.float64, np.nan),
    "text": (np.int32, MISSING_TEXT),
    "truth": (np.bool_, True),
}


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

    def replace(self, rows: NDArray[np.intp], values: NDArray[Any]) -> None:
        """`values` at `rows`, missing everywhere else."""
        self._values[:] = self._fill
        self._values[rows] = values
        self.changes += 1


class Columns:
    """Items by row, and their fields by name; a field becomes a column when it is first asked for.

    Rows are numbered here, for a model and the catalogue each know items that the other does not; `on` tells a model's
    rows. A row, once given, stays: it is some 100 bytes for each item this process ever heard of.
    """

    def __init__(self) -> None:
        self.texts = Texts()
        self._rows: dict[str, int] = {}
        self._products: list[Product | None] = []
        self._item_ids: list[str] = []
        self._columns: dict[str, Column] = {}
        self._items = ItemTable()
        self._map = np.empty(0, np.intp)

    def __len__(self) -> int:
        return len(self._item_ids)

    @property
    def item_ids(self) -> Sequence[str]:
        """In row order: a live view, not to be changed."""
        return self._item_ids

    def row(self, item_id: str) -> int | None:
        """Where an item stands; None when nobody spoke of it."""
        return self._rows.get(item_id)

    def product(self, item_id: str) -> Product | None:
        """The catalogue's word on an item."""
        row = self._rows.get(item_id)
        return self._products[row] if row is not None else None

    def put(self, item_id: str, product: Product | None) -> None:
        """The catalogue's word from now on; None: nothing is known of it any more."""
        row = self._added(item_id)
        self._products[row] = product
        for name, column in self._columns.items():
            if name not in FEATURES:
                column.reserve(len(self))
                column.set(row, item_id if name == "item_id" else fact(product, name))

    def put_feature(self, name: str, items: ItemTable, values: NDArray[Any]) -> None:
        """A model's feature: `values` in the order of `items`, of as many of them as it has."""
        rows = self._rows_of(items)[: len(values)]
        self.column(name).replace(rows, values)

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
                column.fill(
                    self._item_ids if name == "item_id" else [fact(product, name) for product in self._products]
                )
        elif len(column.values) < len(self):
            self._catch_up(column)
        return column

    def on(self, items: ItemTable, values: NDArray[Any]) -> NDArray[Any]:
        """What `values` (one for each row here) are in a model's rows; shape (len(items),), fresh."""
        rows = self._rows_of(items)
        if len(values) < len(self):
            raise ValueError(f"values: wanted {len(self)} after Columns.rows_of(items), got {len(values)}")
        on_items: NDArray[Any] = values[rows]
        return on_items

    def follow(self, items: ItemTable) -> None:
        """Give every item of `items` a row; before values are computed that `on` is to read."""
        self._rows_of(items)

    def _rows_of(self, items: ItemTable) -> NDArray[np.intp]:
        if items is not self._items:
            self._items, self._map = items, np.empty(0, np.intp)
        if len(self._map) < len(items):
            ids = items.ids[len(self._map) :]
            known = [self._rows.get(item_id, -1) for item_id in ids]
            rows = [row if row >= 0 else self._added(item_id) for row, item_id in zip(known, ids, strict=True)]
            self._map = np.concatenate([self._map, np.array(rows, np.intp)])
        return self._map

    def _added(self, item_id: str) -> int:
        row = self._rows.get(item_id)
        if row is None:
            row = self._rows[item_id] = len(self._item_ids)
            self._item_ids.append(item_id)
            self._products.append(None)
        return row

    def _catch_up(self, column: Column) -> None:
        """Rows that a model brought: nobody described them."""
        begin = len(column.values)
        column.reserve(len(self))
        if column.name == "item_id":
            for row in range(begin, len(self)):
                column.set(row, self._item_ids[row])
