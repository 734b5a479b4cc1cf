"""What this visitor looked at a moment ago: people come back to it."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import KIND_WEIGHT, NOTHING_BLOCKED, Blocked, Events, Prefix, Scored, State, plain
from recommender.scan import seen_later


class OwnSessionSettings(NamedTuple):
    """How far back it looks, and whether the item at hand is one of its rows."""

    last: int
    with_current: bool


class OwnSession:
    """The prefix itself, newest first: a row scores `1 / distance` of its newest event, distance 1 for the newest.

    The item at hand is left out unless `with_current`. Knows nothing but the prefix: there is nothing to learn or keep.
    """

    name = "own-session"

    def __init__(self, *, last: int = 30, with_current: bool = False) -> None:
        self.settings = OwnSessionSettings(last, with_current)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Nothing to learn."""

    def update_many(self, events: Events, /) -> None:
        """Nothing to learn."""

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The distinct rows of the newest events."""
        rows, kinds = plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8)
        return Scored(*_answer(self.settings, rows, kinds, n, blocked))

    def state(self) -> dict[str, NDArray[Any]]:
        """Empty."""
        return {}

    def load(self, state: State, /) -> None:
        """Nothing to take over."""


@njit(cache=True, nogil=True)
def own_rows(settings, prefix, kinds, n, blocked):  # type: ignore[no-untyped-def]
    """The distinct rows of the newest events, newest first: at most `n`, and their scores.

    Args:
        settings: `OwnSessionSettings`.
        prefix, kinds: of the visitor, oldest first.
        blocked: rows left out are True; rows past its end are not blocked.
    """
    last = min(settings.last, len(prefix))
    rows, scores = np.empty(min(n, last), np.int32), np.empty(min(n, last), np.float32)
    filled = 0
    for distance in range(last):
        place = len(prefix) - 1 - distance
        row = prefix[place]
        if filled == n or (distance == 0 and not settings.with_current):
            continue
        if KIND_WEIGHT[kinds[place]] <= 0.0 or (row < len(blocked) and blocked[row]) or seen_later(prefix, distance):
            continue
        rows[filled], scores[filled] = row, np.float32(1.0 / (distance + 1))
        filled += 1
    return rows[:filled], scores[:filled]


@njit(cache=True, nogil=True)
def _answer(settings, prefix, kinds, n, blocked):  # type: ignore[no-untyped-def]
    return own_rows(settings, prefix, kinds, n, blocked)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this model."""
    OwnSession().scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
