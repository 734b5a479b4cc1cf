"""What one visitor may teach about one item in a day, so that no bot weighs more than one keen customer.

An item's first two events of a day teach, and whatever they were, its first add to cart and its first purchase. Honest
visitors lose nothing by it: on two public sets a model taught two events per session and item ranks as well as one
taught all of them.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from feature_store.kinds import Kind
from recommender.models.protocol import KIND_WEIGHT

_EVENTS_MAX = 2
_COUNT, _CART, _BOUGHT, _GIVEN_SHIFT = 0b11, 0b100, 0b1000, 4
_ROW_SHIFT = 8


class Say(NamedTuple):
    """What an event may say.

    Attributes:
        gain: by how much it raises the largest weight that this visitor gave the item today; what popularity counts.
        first: it is this visitor's first on the item today; what a trend counts.
    """

    gain: int
    first: bool


class Allowance:
    """One visitor's day: eight bytes an item, at most `items_max` items; further ones may teach nothing that day."""

    __slots__ = ("_items", "_items_max")

    def __init__(self, items_max: int, packed: Iterable[int] = ()) -> None:
        self._items = array("q", packed)
        self._items_max = items_max

    def say(self, row: int, kind: int) -> Say | None:
        """What an event on `row` may say, and from now on has said; None when it may say nothing."""
        place, state = self._find(row)
        count = state & _COUNT
        flag = _CART if kind == Kind.ADD_TO_CART else _BOUGHT if kind == Kind.PURCHASE else 0
        if count >= _EVENTS_MAX and (not flag or state & flag):
            return None
        if place == len(self._items):
            if place >= self._items_max:
                return None
            self._items.append(0)
        given = state >> _GIVEN_SHIFT
        weight = int(KIND_WEIGHT[kind])
        state = (max(given, weight) << _GIVEN_SHIFT) | (state & (_CART | _BOUGHT)) | flag | min(count + 1, _EVENTS_MAX)
        self._items[place] = row << _ROW_SHIFT | state
        return Say(max(0, weight - given), given == 0)

    def packed(self) -> "array[int]":
        """What `__init__` takes."""
        return self._items

    def _find(self, row: int) -> tuple[int, int]:
        for place, packed in enumerate(self._items):
            if packed >> _ROW_SHIFT == row:
                return place, packed & ((1 << _ROW_SHIFT) - 1)
        return len(self._items), 0
