"""What a request's filters and boosters and the shop's rules come to together: who passes, and what each counts."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from recommender.filters import Columns
from recommender.impressions import discounts_on
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Rows, Scored, Scores
from recommender.narrowing import Narrowed
from recommender.rule_effects import Effects

_DEPTH_MIN, _DEPTH_FACTOR = 200, 3


class Shaping(NamedTuple):
    """One request's: `narrowed` by itself, None where it asks for nothing; `effects` of the rules that speak.

    `discounts`: by item id what is left of a score after it was shown.
    """

    narrowed: Narrowed | None
    effects: Effects
    columns: Columns
    now_ms: int
    discounts: Mapping[str, float] = {}

    def depth(self, n: int) -> int:
        """How long a list must be for its best `n` after weighing."""
        wanted = n if self.narrowed is None else self.narrowed.depth(n)
        if self.effects.weighing:
            return max(wanted, _DEPTH_FACTOR * n, _DEPTH_MIN)
        # Each item that was shown may make room for one that was not.
        return max(wanted, n + len(self.discounts))

    def block(self, blocked: Blocked, items: ItemTable) -> None:
        """Block what does not pass. `blocked`: shape (len(items),), changed."""
        if self.narrowed is not None:
            self.narrowed.block(blocked, items)
        hidden = self.effects.blocked(items, self.columns, self.now_ms)
        if hidden is not None:
            np.logical_or(blocked, hidden, out=blocked)

    def passes(self, item_id: str) -> bool:
        """The same for one item, known to a model or not."""
        if self.narrowed is not None and not self.narrowed.passes(item_id):
            return False
        return not self.effects.blocking or self.effects.blocking_rule(item_id, self.columns) is None

    def weights(self, rows: Rows, items: ItemTable) -> Scores | None:
        """What the scores of a model's `rows` are multiplied by; None: by nothing."""
        found = [
            self.narrowed.weights(rows, items) if self.narrowed is not None else None,
            discounts_on(rows, items, self.discounts) if self.discounts else None,
        ]
        by_rules = self.effects.weights(items, self.columns, self.now_ms)
        if by_rules is not None:
            found.append(by_rules[rows])
        weights: Scores | None = None
        for each in found:
            weights = each if weights is None else weights if each is None else weights * each
        return weights

    def weight(self, item_id: str) -> float:
        """What one item's score is multiplied by."""
        weight = self.discounts.get(item_id, 1.0)
        if self.narrowed is not None:
            weight *= self.narrowed.weight(item_id)
        for rule in self.effects.weighing_rules(item_id, self.columns):
            weight *= rule.weight
        return weight


def weighed(scored: Scored, weights: Scores | None) -> Scored:
    """The list with its scores multiplied, best first again; of equals the earlier stays ahead."""
    if weights is None or not len(scored.rows):
        return scored
    scores = scored.scores * weights
    order = np.argsort(-scores, kind="stable")
    return Scored(scored.rows[order], scores[order])
