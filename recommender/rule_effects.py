"""What a set of rules does to a catalogue: one mask, one weight an item, and the pins."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.facts import NO_CODE, Names, levels
from recommender.filters import Columns, Filter
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked
from recommender.rules import Consequence, Rule

Weights = NDArray[np.float32]

_REFRESH_MS = 250
"""How old masks may be when a product has changed: a rule about a category sees a moved product within this."""

_FEATURES_MS = 1_000
"""The same where an expression asks for what is popular or rises."""

_BLOCKING = (Consequence.HIDE, Consequence.FILTER)
_WEIGHING = (Consequence.BOOST, Consequence.BURY)


class Pin(NamedTuple):
    """One item that has a slot of its own (1 is the first)."""

    slot: int
    item_id: str
    rule_id: str


class Effects:
    """Rules that speak together, as arrays over a model's rows; kept until items or facts change.

    Args:
        rules: lower priority first.
        current: the page's item, where an expression asks for it.
    """

    def __init__(self, rules: Sequence[Rule], current: str | None = None) -> None:
        self.rules = tuple(rules)
        self.blocking = tuple(rule for rule in rules if rule.consequence in _BLOCKING)
        self.weighing = tuple(rule for rule in rules if rule.consequence in _WEIGHING)
        self.pinning = tuple(rule for rule in rules if rule.consequence is Consequence.PIN)
        self._targets = {rule.rule_id: _Target(rule, current) for rule in rules}
        self._refresh_ms = _FEATURES_MS if any(target.asks_features for target in self._targets.values()) else None
        self._items: ItemTable | None = None
        self._facts_changes = -1
        self._made_ms = 0
        self._pins: list[Pin] = []
        self._pins_changes = -1
        self._blocked: Blocked = np.zeros(0, np.bool_)
        self._weights: Weights = np.zeros(0, np.float32)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def blocked(self, items: ItemTable, columns: Columns, now_ms: int) -> Blocked | None:
        """Shape (len(items),): True for rows that a rule hides or does not let through; None: no rule does."""
        if not self.blocking:
            return None
        self._follow(items, columns, now_ms)
        return self._blocked

    def weights(self, items: ItemTable, columns: Columns, now_ms: int) -> Weights | None:
        """Shape (len(items),): what each row's score is multiplied by; None: by nothing.

        Of the boosts and buries that mean an item those of the highest priority count, multiplied.
        """
        if not self.weighing:
            return None
        self._follow(items, columns, now_ms)
        return self._weights

    def pins(self, columns: Columns) -> Sequence[Pin]:
        """The pinned items by slot. Of two that want one slot the higher priority has it, the other the next free.

        An item that a rule of the same or a higher priority hides is not pinned.
        """
        if self._pins_changes != columns.facts.changes:
            self._pins, self._pins_changes = self._slots(columns), columns.facts.changes
        return self._pins

    def _slots(self, columns: Columns) -> list[Pin]:
        taken: dict[int, Pin] = {}
        pinned: set[str] = set()
        for rule in reversed(self.pinning):
            for place, item_id in enumerate(rule.items):
                if item_id in pinned or self.blocking_rule(item_id, columns, from_priority=rule.priority) is not None:
                    continue
                slot = rule.slot + place
                while slot in taken:
                    slot += 1
                taken[slot] = Pin(slot, item_id, rule.rule_id)
                pinned.add(item_id)
        return [taken[slot] for slot in sorted(taken)]

    def blocking_rule(self, item_id: str, columns: Columns, *, from_priority: int | None = None) -> str | None:
        """The rule of highest priority that keeps `item_id` out, of those from `from_priority` on; None: none does."""
        return next(self._blocking(item_id, columns, from_priority), None)

    def blocking_rules(self, item_id: str, columns: Columns) -> list[str]:
        """Every rule that keeps `item_id` out, the highest priority first."""
        return list(self._blocking(item_id, columns, None))

    def _blocking(self, item_id: str, columns: Columns, from_priority: int | None) -> Iterator[str]:
        for rule in reversed(self.blocking):
            if from_priority is not None and rule.priority < from_priority:
                return
            if self._targets[rule.rule_id].means(item_id, columns) == (rule.consequence is Consequence.HIDE):
                yield rule.rule_id

    def weighing_rules(self, item_id: str, columns: Columns) -> list[Rule]:
        """The boosts and buries that make the weight of `item_id`."""
        meant = [rule for rule in self.weighing if self._targets[rule.rule_id].means(item_id, columns)]
        return [rule for rule in meant if rule.priority == meant[-1].priority]

    def _follow(self, items: ItemTable, columns: Columns, now_ms: int) -> None:
        age_ms = abs(now_ms - self._made_ms)
        stale = columns.facts.changes != self._facts_changes and age_ms >= _REFRESH_MS
        stale = stale or (self._refresh_ms is not None and age_ms >= self._refresh_ms)
        if items is not self._items or stale:
            self._items, self._facts_changes, self._made_ms = items, columns.facts.changes, now_ms
            self._blocked, self._weights = np.zeros(0, np.bool_), np.zeros(0, np.float32)
        known = max(len(self._blocked), len(self._weights))
        if len(items) > known:
            # An item the model has just met must be hidden from its first answer on.
            if self.blocking:
                self._blocked = np.concatenate([self._blocked, self._block(items, columns, known)])
            if self.weighing:
                self._weights = np.concatenate([self._weights, self._weigh(items, columns, known)])

    def _block(self, items: ItemTable, columns: Columns, begin: int) -> Blocked:
        blocked = np.zeros(len(items) - begin, np.bool_)
        for rule in self.blocking:
            meant = self._targets[rule.rule_id].mask(items, columns, begin)
            blocked |= meant if rule.consequence is Consequence.HIDE else ~meant
        return blocked

    def _weigh(self, items: ItemTable, columns: Columns, begin: int) -> Weights:
        weights = np.ones(len(items) - begin, np.float32)
        for _, equals in groupby(self.weighing, key=lambda rule: rule.priority):
            product = np.ones(len(weights), np.float32)
            touched = np.zeros(len(weights), np.bool_)
            for rule in equals:
                meant = self._targets[rule.rule_id].mask(items, columns, begin)
                product[meant] *= np.float32(rule.weight)
                touched |= meant
            weights = np.where(touched, product, weights)
        return weights


class _Target:
    """The items one rule is about."""

    def __init__(self, rule: Rule, current: str | None) -> None:
        self._filter = Filter(rule.expression) if rule.expression is not None else None
        self.asks_features = self._filter is not None and bool(self._filter.features)
        self._current = current
        self._items = rule.items
        self._item_set = frozenset(rule.items)
        self._categories = _Meant({levels(category)[-1] for category in rule.categories}, nested=True)
        self._brands = _Meant(rule.brands, nested=False)

    def mask(self, items: ItemTable, columns: Columns, begin: int) -> Blocked:
        """Shape (len(items) - begin,)."""
        meant = np.ones(len(items) - begin, np.bool_)
        if self._items:
            meant[:] = False
            rows = [row - begin for item_id in self._items if (row := items.row(item_id)) is not None]
            meant[[row for row in rows if row >= 0]] = True
        if self._categories:
            table = self._categories.table(columns.facts.categories)
            meant &= table[columns.facts.of_rows(columns.facts.category, items, begin)]
        if self._brands:
            table = self._brands.table(columns.facts.brands)
            meant &= table[columns.facts.of_rows(columns.facts.brand, items, begin)]
        if self._filter is not None:
            meant &= self._filter.mask_on(columns, items, current=self._current)[begin:]
        return meant

    def means(self, item_id: str, columns: Columns) -> bool:
        """The same for one item, known to a model or not."""
        if self._items and item_id not in self._item_set:
            return False
        if self._filter is not None:
            place = columns.facts.items.row(item_id)
            if place is None:
                place = columns.unknown_place()
            if not self._filter.mask(columns, current=self._current)[place]:
                return False
        if not self._categories and not self._brands:
            return True
        product = columns.facts.product(item_id)
        if product is None:
            return False
        return (not self._categories or self._categories.means(product.category)) and (
            not self._brands or self._brands.means(product.brand)
        )


class _Meant:
    """Names of categories or brands; a category is meant by any of its levels, a brand has but one."""

    def __init__(self, names: Iterable[str], *, nested: bool) -> None:
        self._names = frozenset(names)
        self._nested = nested
        self._table: Blocked = np.zeros(1, np.bool_)
        self._of: Names | None = None

    def __bool__(self) -> bool:
        return bool(self._names)

    def means(self, name: str | None) -> bool:
        if not name:
            return False
        return not self._names.isdisjoint(levels(name)) if self._nested else name in self._names

    def table(self, names: Names) -> Blocked:
        """By code, and False in the last place, which is where `NO_CODE` leads."""
        assert NO_CODE == -1, "the last place of an array"
        if names is not self._of or len(self._table) != len(names.names) + 1:
            self._of = names
            self._table = np.array([*(self.means(name) for name in names.names), False])
        return self._table


NO_EFFECTS = Effects(())
