"""What this visitor looked at a moment ago: people come back to it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.models.protocol import EMPTY, KIND_WEIGHT, NOTHING_BLOCKED, Blocked, Events, Prefix, Scored, State


class OwnSession:
    """The prefix itself, newest first: a row scores `1 / distance` of its newest event, distance 1 for the newest.

    The item at hand is left out unless `with_current`. Knows nothing but the prefix: there is nothing to learn or keep.
    """

    name = "own-session"

    def __init__(self, *, last: int = 30, with_current: bool = False) -> None:
        self._last = last
        self._with_current = with_current

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Nothing to learn."""

    def update_many(self, events: Events, /) -> None:
        """Nothing to learn."""

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The distinct rows of the newest events."""
        newest_first = prefix.rows[::-1][: self._last]
        rows, distance = np.unique(newest_first, return_index=True)
        kept = KIND_WEIGHT[prefix.kinds[::-1][distance]] > 0
        kept &= ~_blocked(rows, blocked)
        kept &= (distance > 0) | self._with_current
        if not kept.any():
            return EMPTY
        order = np.argsort(distance[kept])[:n]
        scores = (1.0 / (distance[kept][order] + 1)).astype(np.float32)
        return Scored(rows[kept][order].astype(np.int32), scores)

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty."""
        return {}

    def load(self, state: State, /) -> None:
        """Nothing to take over."""


def _blocked(rows: NDArray[np.int32], blocked: Blocked) -> NDArray[np.bool_]:
    inside = rows < len(blocked)
    answer = np.zeros(len(rows), np.bool_)
    answer[inside] = blocked[rows[inside]]
    return answer
