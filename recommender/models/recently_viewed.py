"""What this visitor looked at, in this session and before, and has not bought since."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.kinds import Kind
from recommender.models.protocol import EMPTY, KIND_WEIGHT, NOTHING_BLOCKED, Blocked, Events, Prefix, Scored, State


class RecentlyViewed:
    """The distinct rows of the prefix, newest first, scores `1 / place`; a purchase ends an item's being open.

    Unlike `OwnSession`, which guesses what comes next, it is a list for people: the item at hand is in it, and how many
    events lie between says nothing.
    """

    name = "recently-viewed"

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Nothing to learn."""

    def update_many(self, events: Events, /) -> None:
        """Nothing to learn."""

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """Newest first."""
        newest_first = prefix.rows[::-1]
        kinds = prefix.kinds[::-1]
        rows, place = np.unique(newest_first, return_index=True)
        kept = (KIND_WEIGHT[kinds[place]] > 0) & (kinds[place] != Kind.PURCHASE)
        inside = rows < len(blocked)
        kept[inside] &= ~blocked[rows[inside]]
        if not kept.any():
            return EMPTY
        rows = rows[kept][np.argsort(place[kept])][:n].astype(np.int32)
        return Scored(rows, (1.0 / np.arange(1, len(rows) + 1)).astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty."""
        return {}

    def load(self, state: State, /) -> None:
        """Nothing to take over."""
