"""Expressions ready for use: a filter gives a mask, a booster gives weights; each text is parsed once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.errors import ExpressionError
from recommender.filters.columns import Columns
from recommender.filters.fields import FEATURES, Kind
from recommender.filters.parser import parse
from recommender.filters.tree import Node, fields_of
from recommender.filters.vectors import Frame, computed
from recommender.models.item_table import ItemTable

BOOST_MAX = 100.0
"""A weight above counts as this, one below 0 as 0, one that is not known as 1."""

PARSED_MAX = 512
"""Expressions kept parsed, the one longest unused dropped first; a shop writes dozens."""

_PARSED = Counter("afterclick_recommender_expressions_parsed_total", "Filters and boosters parsed", ["outcome"])

Compiled = TypeVar("Compiled", bound="_Compiled")


class _Compiled:
    _kind: Kind
    _wanted: str

    def __init__(self, text: str) -> None:
        node = parse(text)
        if node.kind != self._kind:
            raise _of_another_kind(node, self._wanted)
        fields = fields_of(node)
        self.text = text
        self.names = frozenset(field.name for field in fields)
        self.features = self.names & FEATURES.keys()
        self.asks_current = any(field.of_current for field in fields)
        self._compute = computed(node)
        self._kept: NDArray[Any] = np.zeros(0)
        self._kept_of: tuple[Columns | None, int, int] = (None, -1, -1)
        self._mapped: NDArray[Any] = np.zeros(0)
        self._mapped_of: tuple[NDArray[Any] | None, ItemTable | None, int] = (None, None, -1)

    def _on(self, columns: Columns, items: ItemTable, values: NDArray[Any]) -> NDArray[Any]:
        """`values` in a model's rows, or what they were there last when neither has changed."""
        if self.asks_current:
            return columns.on(items, values)
        kept_values, kept_items, kept_count = self._mapped_of
        if kept_values is not values or kept_items is not items or kept_count != len(items):
            self._mapped = columns.on(items, values)
            self._mapped.flags.writeable = False
            self._mapped_of = (values, items, len(items))
        return self._mapped

    def _values(
        self, columns: Columns, current: str | None, finish: Callable[[Any, int], NDArray[Any]]
    ) -> NDArray[Any]:
        """Computed, or what was computed last when nothing it depends on has changed since."""
        if self.asks_current:
            row = columns.facts.items.row(current) if current is not None else None
            with np.errstate(all="ignore"):
                return finish(self._compute(Frame(columns, row)), len(columns))
        # Sums of counters that only grow: equal means unchanged.
        changes = sum([columns.column(name).changes for name in self.names])
        if self._kept_of != (columns, len(columns), changes):
            with np.errstate(all="ignore"):
                self._kept = finish(self._compute(Frame(columns, None)), len(columns))
            self._kept.flags.writeable = False
            self._kept_of = (columns, len(columns), changes)
        return self._kept


class Filter(_Compiled):
    """Which items may be shown.

    Attributes:
        text: as it was written.
        names: the fields it reads. `features`: those that are a model's.
        asks_current: it asks for the page's own item.
    """

    _kind = "truth"
    _wanted = "a condition, true or false for each item"

    def mask(self, columns: Columns, *, current: str | None = None) -> NDArray[np.bool_]:
        """Shape (len(columns),), True for what passes; not to be changed. `current`: the page's own item."""
        return self._values(columns, current, _as_mask)

    def mask_on(self, columns: Columns, items: ItemTable, *, current: str | None = None) -> NDArray[np.bool_]:
        """The same in a model's rows, shape (len(items),); not to be changed."""
        columns.follow(items)
        return self._on(columns, items, self.mask(columns, current=current))


class Booster(_Compiled):
    """By how much an item's score is multiplied; attributes as of `Filter`."""

    _kind = "number"
    _wanted = "a number, the weight of each item"

    def weights(self, columns: Columns, *, current: str | None = None) -> NDArray[np.float32]:
        """Shape (len(columns),), each of 0 to `BOOST_MAX`, 1 where it is not known; not to be changed."""
        return self._values(columns, current, _as_weights)

    def weights_on(self, columns: Columns, items: ItemTable, *, current: str | None = None) -> NDArray[np.float32]:
        """The same in a model's rows, shape (len(items),); not to be changed."""
        columns.follow(items)
        return self._on(columns, items, self.weights(columns, current=current))


class Filters:
    """Parses each text once and keeps the `parsed_max` last used; one thread."""

    def __init__(self, *, parsed_max: int = PARSED_MAX) -> None:
        self._parsed_max = parsed_max
        self._parsed: OrderedDict[tuple[type[_Compiled], str], _Compiled] = OrderedDict()

    def filter(self, text: str) -> Filter:
        """The filter written as `text`.

        Raises:
            ExpressionError: it is none; says at which column and why.
        """
        return self._compiled(Filter, text)

    def booster(self, text: str) -> Booster:
        """The booster written as `text`.

        Raises:
            ExpressionError: it is none; says at which column and why.
        """
        return self._compiled(Booster, text)

    def _compiled(self, kind: type[Compiled], text: str) -> Compiled:
        key = (kind, text)
        found = self._parsed.get(key)
        if found is None:
            try:
                found = kind(text)
            except ExpressionError:
                _PARSED.labels("refused").inc()
                raise
            _PARSED.labels("parsed").inc()
            self._parsed[key] = found
            if len(self._parsed) > self._parsed_max:
                self._parsed.popitem(last=False)
                _PARSED.labels("dropped").inc()
        else:
            self._parsed.move_to_end(key)
        assert isinstance(found, kind)
        return found


def _of_another_kind(node: Node, wanted: str) -> ExpressionError:
    got = {"number": "a number", "text": "a text", "truth": "a condition"}[node.kind]
    step = "write `if … then 2 else 1`" if node.kind == "truth" else "compare it, as in `price < 50`"
    return ExpressionError(node.column, wanted=wanted, got=got, next_step=step)


def _as_mask(value: Any, rows: int) -> NDArray[np.bool_]:
    if np.ndim(value) == 0:
        return np.full(rows, bool(value))
    # A field alone is the column itself, which changes later.
    return np.array(value, np.bool_)


def _as_weights(value: Any, rows: int) -> NDArray[np.float32]:
    numbers = np.full(rows, value, np.float64) if np.ndim(value) == 0 else value
    known = np.where(np.isnan(numbers), 1.0, numbers)
    return np.clip(known, 0.0, BOOST_MAX).astype(np.float32)
