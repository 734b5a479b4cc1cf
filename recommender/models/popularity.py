"""What everybody looks at: exponentially decayed counts per item, slow (popularity) and fast (trend)."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import (
    KIND_WEIGHT,
    NOTHING_BLOCKED,
    Blocked,
    Events,
    Prefix,
    Rows,
    Scored,
    Scores,
    State,
    grown,
    plain_events,
)
from recommender.scan import best_of

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
_TREND_SHARE = 0.01


class Votes(NamedTuple):
    """What events count, where it is less than their kind says: a visitor's repeats count nothing.

    Attributes:
        gains: shape (n,), what the slow count takes of each event.
        firsts: shape (n,), 1 for a visitor's first of the day on an item, else 0: a trend counts visitors, not clicks.
    """

    gains: NDArray[np.uint8]
    firsts: NDArray[np.uint8]


class Popularity:
    """Decayed counts; each item's are as of its own newest event and aged when read (Cormode et al., ICDE 2009).

    A late event counts as much less as it is late, so that the order of arrival does not matter.
    """

    name = "popularity"

    def __init__(self, *, half_life_ms: float = 7 * DAY_MS, trend_half_life_ms: float = 2 * HOUR_MS) -> None:
        if not (half_life_ms > 0 and trend_half_life_ms > 0):
            raise ValueError(f"half-lives must be > 0, got {half_life_ms} and {trend_half_life_ms}")
        # As `load` makes them: of another type every kernel that reads them would be compiled while visitors wait.
        self._half_lives_ms = np.array([half_life_ms, trend_half_life_ms], np.float64)
        self._counts = np.zeros((0, 2), np.float64)
        self._times_ms = np.zeros(0, np.int64)
        self._items = 0
        self._newest_ms = 0

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Count one event."""
        self._reserve(row + 1)
        weight = KIND_WEIGHT[kind]
        _count(self._counts, self._times_ms, self._half_lives_ms, row, weight, weight, time_ms)
        self._newest_ms = max(self._newest_ms, time_ms)

    def update_many(self, events: Events, votes: Votes | None = None, /) -> None:
        """Count many; without `votes` each by its kind."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._reserve(int(events.rows.max()) + 1)
        slow = fast = KIND_WEIGHT[events.kinds]
        if votes is not None:
            slow, fast = votes.gains.astype(np.float32), votes.firsts.astype(np.float32)
        _count_many(self._counts, self._times_ms, self._half_lives_ms, events.rows, slow, fast, events.times_ms)
        self._newest_ms = max(self._newest_ms, int(events.times_ms.max()))

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The most popular rows; `prefix` says nothing here."""
        return best_of(self.popular(self._newest_ms), n, blocked, above=0.0)

    def popular(self, now_ms: int) -> Scores:
        """Shape (n_items,): the slow counts as of `now_ms`; an event that says 1 counts 1 when it is new."""
        return self._aged(0, now_ms)

    def trending(self, now_ms: int) -> Scores:
        """Shape (n_items,): how far the fast count is above what the slow one promises, in standard deviations.

        Both counts estimate the same rate while nothing changes; a Poisson count scatters by the root of what is
        expected. To that a hundredth of all that happens is added: in a busy shop, what three people do is no trend.
        """
        fast = self._aged(1, now_ms)
        expected = self._aged(0, now_ms) * np.float32(self._half_lives_ms[1] / self._half_lives_ms[0])
        trend: Scores = (fast - expected) / np.sqrt(expected + np.float32(1.0 + _TREND_SHARE * float(fast.sum())))
        return trend

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Shape (n, 2) slow and fast counts by row, as of when, and both half-lives; not to be changed.

        The arrays themselves, longer than there are items, for kernels that read them in place.
        """
        return self._counts, self._times_ms, self._half_lives_ms

    def block(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What is held of `rows`, absolutely, for `set_block` of a replica."""
        return {"rows": rows, "counts": self._counts[rows], "times_ms": self._times_ms[rows]}

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        rows = block["rows"]
        if len(rows) == 0:
            return
        self._reserve(int(rows.max()) + 1)
        self._counts[rows] = block["counts"]
        self._times_ms[rows] = block["times_ms"]
        self._newest_ms = max(self._newest_ms, int(block["times_ms"].max()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Counts, times and half-lives."""
        return {
            "half_lives_ms": self._half_lives_ms.copy(),
            "counts": self._counts[: self._items].copy(),
            "times_ms": self._times_ms[: self._items].copy(),
        }

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self._half_lives_ms = np.array(state["half_lives_ms"], np.float64)
        self._counts = np.array(state["counts"], np.float64)
        self._times_ms = np.array(state["times_ms"], np.int64)
        self._items = len(self._counts)
        self._newest_ms = int(self._times_ms.max(initial=0))

    def _aged(self, which: int, now_ms: int) -> Scores:
        age_ms = np.maximum(0, now_ms - self._times_ms[: self._items])
        aged = self._counts[: self._items, which] * np.exp2(-age_ms / self._half_lives_ms[which])
        as_scores: Scores = aged.astype(np.float32)
        return as_scores

    def _reserve(self, items: int) -> None:
        self._counts = grown(self._counts, items)
        self._times_ms = grown(self._times_ms, items)
        self._items = max(self._items, items)


@njit(cache=True, nogil=True)
def _count(counts, times_ms, half_lives_ms, row, slow, fast, time_ms):  # type: ignore[no-untyped-def]
    if slow <= 0.0 and fast <= 0.0:
        return
    ahead_ms = time_ms - times_ms[row]
    for which in range(2):
        weight = fast if which else slow
        ageing = 2.0 ** (-abs(ahead_ms) / half_lives_ms[which])
        if ahead_ms >= 0:
            counts[row, which] = counts[row, which] * ageing + weight
        else:
            counts[row, which] += weight * ageing
    times_ms[row] = max(times_ms[row], time_ms)


@njit(cache=True, nogil=True)
def _count_many(counts, times_ms, half_lives_ms, rows, slow, fast, event_times_ms):  # type: ignore[no-untyped-def]
    for event in range(len(rows)):
        _count(counts, times_ms, half_lives_ms, rows[event], slow[event], fast[event], event_times_ms[event])


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    model = Popularity()
    model.update(0, 0, 1, 1)
    one = np.ones(1, np.int32)
    model.update_many(Events(one.astype(np.int64), one, one.astype(np.uint8), one.astype(np.int64)))
