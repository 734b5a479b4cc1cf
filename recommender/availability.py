"""Which items may be suggested at all, as a mask over the model's rows that follows the catalogue."""

from collections.abc import Iterable

import numpy as np

from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked


class Availability:
    """The unavailable ids, by rule, and the same as a mask over one `ItemTable`; what nobody described is available."""

    def __init__(self) -> None:
        self._unavailable: dict[str, str] = {}
        self._items = ItemTable()
        self._mask: Blocked = np.zeros(0, np.bool_)
        self._known = 0

    def set_available(self, item_id: str, available: bool) -> None:
        """From now on."""
        self.set_rule(item_id, None if available else "availability")

    def set_rule(self, item_id: str, rule: str | None) -> None:
        """From now on `rule` keeps it out; None: it may be suggested."""
        if rule is None:
            self._unavailable.pop(item_id, None)
        else:
            self._unavailable[item_id] = rule
        row = self._items.row(item_id)
        if row is not None and row < self._known:
            self._mask[row] = rule is not None

    def __bool__(self) -> bool:
        """Is anything kept out?"""
        return bool(self._unavailable)

    def rule(self, item_id: str) -> str | None:
        """What keeps it out; None: it may be suggested."""
        return self._unavailable.get(item_id)

    def available(self, item_id: str) -> bool:
        """May it be suggested at all?"""
        return item_id not in self._unavailable

    def blocked(self, items: ItemTable, item_ids: Iterable[str]) -> Blocked:
        """A fresh mask over the rows of `items`: True for the unavailable ones and for `item_ids`."""
        self._follow(items)
        blocked = self._mask[: self._known].copy()
        for item_id in item_ids:
            row = items.row(item_id)
            if row is not None:
                blocked[row] = True
        return blocked

    def _follow(self, items: ItemTable) -> None:
        if items is not self._items:
            self._items, self._known = items, 0
        count = len(items)
        if count == self._known:
            return
        if count > len(self._mask):
            # Room beyond: items arrive one by one, and a copy of the whole mask for each would be quadratic.
            larger = np.zeros(count + count // 4 + 1_024, np.bool_)
            larger[: self._known] = self._mask[: self._known]
            self._mask = larger
        if self._unavailable:
            fresh = [item_id in self._unavailable for item_id in items.ids[self._known : count]]
            self._mask[self._known : count] = fresh
        else:
            self._mask[self._known : count] = False
        self._known = count
