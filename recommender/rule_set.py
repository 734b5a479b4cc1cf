"""Every rule of a shop, compiled once: which of them speak in a situation, found in microseconds."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prometheus_client import Counter

from recommender.facts import Facts, levels
from recommender.filters import Filter
from recommender.rule_effects import NO_EFFECTS, Effects
from recommender.rules import Rule

_EFFECTS_KEPT = 32
"""Sets of rules in force whose masks are kept; a mask takes 1 to 5 bytes an item."""

_evicted = Counter(
    "afterclick_recommender_rule_masks_evicted_total",
    "Masks of rules made anew because more situations are asked for in turns than are kept",
)


class Situation(NamedTuple):
    """What conditions are held against.

    `category`: of the page, any spelling of levels; `segments`: of the visitor.
    """

    placement: str
    item: str | None = None
    category: str | None = None
    segments: frozenset[str] = frozenset()


class RuleSet:
    """Rules in force, by situation. Holds no clock; immutable but for what it keeps at hand.

    Args:
        rules: of distinct `rule_id`; their order does not matter.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.priority, rule.rule_id)))
        filters = [Filter(rule.expression) if rule.expression is not None else None for rule in self.rules]
        self._asks_current = [found is not None and found.asks_current for found in filters]
        self.asks_features = any(found is not None and found.features for found in filters)
        self.asks_segments = any(rule.when.segments for rule in self.rules)
        self._times_ms = sorted({time for rule in self.rules for time in rule.changes_ms()})
        self._era = -1
        self._by_placement: dict[str, _Index] = {}
        self._effects: OrderedDict[tuple[tuple[int, ...], str | None], Effects] = OrderedDict()

    def __len__(self) -> int:
        return len(self.rules)

    def effects(self, situation: Situation, now_ms: int) -> Effects:
        """What the rules that speak in `situation` do, together."""
        if not self.rules:
            return NO_EFFECTS
        numbers = self.speaking(situation, now_ms)
        if not numbers:
            return NO_EFFECTS
        current = situation.item if any(self._asks_current[number] for number in numbers) else None
        key = (numbers, current)
        effects = self._effects.get(key)
        if effects is None:
            effects = self._effects[key] = Effects([self.rules[number] for number in numbers], current)
            if len(self._effects) > _EFFECTS_KEPT:
                self._effects.popitem(last=False)
                _evicted.inc()
        else:
            self._effects.move_to_end(key)
        return effects

    def speaking(self, situation: Situation, now_ms: int) -> tuple[int, ...]:
        """Places in `rules` of those that speak, ascending: lower priority first."""
        era = bisect_right(self._times_ms, now_ms)
        if era != self._era:
            self._era = era
            self._by_placement.clear()
            self._live = [number for number, rule in enumerate(self.rules) if rule.live(now_ms)]
        index = self._by_placement.get(situation.placement)
        if index is None:
            index = self._by_placement[situation.placement] = _Index(self.rules, self._live, situation.placement)
        return index.speaking(situation)


class _Index:
    """The live rules of one placement by what they ask of the situation, so that no other is looked at."""

    def __init__(self, rules: Sequence[Rule], live: Sequence[int], placement: str) -> None:
        self._rules = rules
        self._always: list[int] = []
        self._by_item: dict[str, list[int]] = {}
        self._by_category: dict[str, list[int]] = {}
        self._by_segment: dict[str, list[int]] = {}
        for number in live:
            when = rules[number].when
            if when.placements and placement not in when.placements:
                continue
            if when.items:
                _enter(self._by_item, when.items, number)
            elif when.categories:
                _enter(self._by_category, {levels(category)[-1] for category in when.categories}, number)
            elif when.segments:
                _enter(self._by_segment, when.segments, number)
            else:
                self._always.append(number)

    def speaking(self, situation: Situation) -> tuple[int, ...]:
        found = set(self._always)
        above = levels(situation.category) if situation.category else []
        if situation.item is not None:
            found.update(self._by_item.get(situation.item, ()))
        for category in above if self._by_category else ():
            found.update(self._by_category.get(category, ()))
        for segment in situation.segments if self._by_segment else ():
            found.update(self._by_segment.get(segment, ()))
        return tuple(sorted(number for number in found if self._holds(number, situation, above)))

    def _holds(self, number: int, situation: Situation, above: list[str]) -> bool:
        """What the index has not looked at: a rule may ask for an item, a category and a segment at once."""
        when = self._rules[number].when
        if when.items and when.categories and not any(levels(category)[-1] in above for category in when.categories):
            return False
        if not when.segments or not (when.items or when.categories):
            return True
        return not situation.segments.isdisjoint(when.segments)


def _enter(table: dict[str, list[int]], names: Iterable[str], number: int) -> None:
    for name in set(names):
        table.setdefault(name, []).append(number)


NO_RULES = RuleSet()


def page_category(item: str | None, category: str | None, facts: Facts) -> str | None:
    """The category a page is about: its own, else that of its item."""
    if category is not None or item is None:
        return category
    product = facts.product(item)
    return product.category if product is not None else None
