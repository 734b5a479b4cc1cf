"""What this visitor bought and may need again: how often they did, and whether its usual interval is over."""

import math
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from feature_store.kinds import Kind
from recommender.models.popularity import DAY_MS
from recommender.models.protocol import (
    EMPTY,
    NOTHING_BLOCKED,
    Blocked,
    Events,
    Prefix,
    Rows,
    Scored,
    State,
    grown,
    plain_events,
)

_WAYS = 4
_NOBODY = -1


class BuyAgainParameters(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        buyers_max: pairs of a buyer and an item whose last purchase is remembered; of four that fall together the
            oldest is dropped.
        usual_ms: the interval of an item that nobody bought twice yet.
        spread: of the logarithm of intervals, the same for all items.
        trust: intervals that weigh as much as `usual_ms`.
        observations_max: purchases of one item; beyond it old ones fade as new ones come.
        gap_ms_min: a purchase within this of the last one is the same purchase.
        frequency: power of how often the visitor bought it.
        habit: power of the share of its purchases, anyone's, that were not the buyer's first.
        early: what is left of the score of something bought just now, or long ago.
    """

    buyers_max: int = 262_144
    usual_ms: float = 30.0 * DAY_MS
    spread: float = 0.8
    trust: float = 3.0
    observations_max: float = 1000.0
    gap_ms_min: int = 3_600_000
    frequency: float = 1.0
    habit: float = 1.5
    early: float = 0.3


class BuyAgain:
    """Repurchase intervals per item, learnt from buyers; a session number names a buyer here, not a visit.

    Memory is bounded: a table of last purchases of fixed size, and 24 bytes an item.
    """

    name = "buy-again"

    def __init__(self, parameters: BuyAgainParameters | None = None) -> None:
        self.parameters = p = parameters if parameters is not None else BuyAgainParameters()
        self._buyers = np.full((max(1, p.buyers_max // _WAYS), _WAYS), _NOBODY, np.int64)
        self._bought_rows = np.zeros(self._buyers.shape, np.int32)
        self._bought_ms = np.zeros(self._buyers.shape, np.int64)
        self._intervals = np.zeros((0, 3), np.float64)
        self._newest_ms = 0

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Learn one purchase of the buyer `session`; other kinds teach nothing."""
        self.update_many(
            Events(
                np.array([session], np.int64),
                np.array([row], np.int32),
                np.array([kind], np.uint8),
                np.array([time_ms], np.int64),
            )
        )

    def update_many(self, events: Events, /) -> None:
        """Learn many."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._intervals = grown(self._intervals, int(events.rows.max()) + 1)
        p = self.parameters
        _learn(
            *(self._buyers, self._bought_rows, self._bought_ms, self._intervals),
            *(events.sessions, events.rows, events.kinds, events.times_ms, p.gap_ms_min, p.observations_max),
        )
        self._newest_ms = max(self._newest_ms, int(events.times_ms.max()))

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """What was bought and is not given back, as of the newest event known."""
        return self.due(prefix, max(self._newest_ms, int(prefix.times_ms.max(initial=0))), n, blocked)

    def due(self, prefix: Prefix, now_ms: int, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The same as of `now_ms`."""
        purchases = _purchases(prefix)
        found = [
            (row, self._score(row, times_ms, now_ms))
            for row, times_ms in purchases.items()
            if row >= len(blocked) or not blocked[row]
        ]
        if not found:
            return EMPTY
        found.sort(key=lambda entry: (-entry[1], entry[0]))
        rows, scores = zip(*found[:n], strict=True)
        return Scored(np.array(rows, np.int32), np.array(scores, np.float32))

    def interval_ms(self, row: int, own_ms: float | None = None) -> float:
        """The usual interval of `row`, drawn towards `usual_ms` while few are known, and to the visitor's own."""
        p = self.parameters
        count, total, _ = self._known(row)
        mean = (total + p.trust * math.log(p.usual_ms)) / (count + p.trust)
        if own_ms is not None:
            mean = (mean + math.log(own_ms)) / 2
        return math.exp(mean)

    def forget(self, buyer: int) -> None:
        """Drop what is remembered of one buyer; what they taught of intervals names nobody and stays."""
        self._buyers[self._buyers == buyer] = _NOBODY

    def block(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What is held of `rows`, absolutely, for `set_block` of a replica; nothing of any buyer."""
        return {"rows": rows, "intervals": self._intervals[rows]}

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        if len(block["rows"]):
            self._intervals = grown(self._intervals, int(block["rows"].max()) + 1)
            self._intervals[block["rows"]] = block["intervals"]

    def known(self) -> dict[str, NDArray[Any]]:
        """The block of every row."""
        return self.block(np.arange(len(self._intervals), dtype=np.int32))

    def buyers(self) -> dict[str, NDArray[Any]]:
        """Who bought what last: for whoever goes on learning."""
        used = np.flatnonzero((self._buyers != _NOBODY).any(axis=1))
        return {
            "sets": used,
            "buyers": self._buyers[used],
            "bought_rows": self._bought_rows[used],
            "bought_ms": self._bought_ms[used],
            "newest_ms": np.array([self._newest_ms], np.int64),
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Intervals, and the buyers' last purchases."""
        return {**self.known(), **self.buyers()}

    def load(self, state: State, /) -> None:
        """Take over a `state()` made with the same `buyers_max`."""
        self.__init__(self.parameters)  # type: ignore[misc]
        self.set_block(state)
        self.set_buyers(state)

    def set_buyers(self, state: State) -> None:
        """Take over another's `buyers()`."""
        self._buyers[state["sets"]] = state["buyers"]
        self._bought_rows[state["sets"]] = state["bought_rows"]
        self._bought_ms[state["sets"]] = state["bought_ms"]
        self._newest_ms = int(state["newest_ms"][0])

    @property
    def nbytes(self) -> int:
        """What the model takes."""
        return self._buyers.nbytes + self._bought_rows.nbytes + self._bought_ms.nbytes + self._intervals.nbytes

    def _score(self, row: int, times_ms: list[int], now_ms: int) -> float:
        p = self.parameters
        own_ms = (times_ms[-1] - times_ms[0]) / (len(times_ms) - 1) if len(times_ms) > 1 else None
        interval_ms = self.interval_ms(row, max(float(p.gap_ms_min), own_ms) if own_ms is not None else None)
        away = math.log(max(1.0, float(now_ms - times_ms[-1])) / interval_ms) / p.spread
        due = max(p.early, math.exp(-away * away / 2))
        count, _, purchases = self._known(row)
        # One in two drawn for items of few purchases: neither a habit nor none.
        habit = (count + 1.0) / (purchases + 2.0)
        return float(len(times_ms) ** p.frequency * habit**p.habit * due)

    def _known(self, row: int) -> tuple[float, float, float]:
        """Intervals seen of `row`, the sum of their logarithms, and purchases seen."""
        if row >= len(self._intervals):
            return 0.0, 0.0, 0.0
        count, total, purchases = self._intervals[row].tolist()
        return count, total, purchases


def _purchases(prefix: Prefix) -> dict[int, list[int]]:
    """By row, the times it was bought, ascending; what was given back is as if never bought."""
    found: dict[int, list[int]] = {}
    for event in np.flatnonzero(prefix.kinds >= Kind.PURCHASE).tolist():
        row, kind = int(prefix.rows[event]), prefix.kinds[event]
        if kind == Kind.PURCHASE:
            found.setdefault(row, []).append(int(prefix.times_ms[event]))
        elif kind == Kind.REFUND and row in found:
            found[row].pop()
            if not found[row]:
                del found[row]
    return found


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    buyers, bought_rows, bought_ms, intervals, sessions, rows, kinds, times_ms, gap_ms_min, observations_max,
):  # fmt: skip
    for event in range(len(rows)):
        if kinds[event] != 5:
            continue
        buyer, row, time_ms = sessions[event], rows[event], times_ms[event]
        mixed = (np.uint64(buyer) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(row) * np.uint64(0xC2B2AE3D27D4EB4F))
        line = np.int64((mixed >> np.uint64(20)) % np.uint64(len(buyers)))
        way, found = 0, False
        for candidate in range(buyers.shape[1]):
            if buyers[line, candidate] == buyer and bought_rows[line, candidate] == row:
                way, found = candidate, True
                break
            if buyers[line, candidate] == -1:
                if buyers[line, way] != -1:
                    way = candidate
            elif buyers[line, way] != -1 and bought_ms[line, candidate] < bought_ms[line, way]:
                way = candidate
        gap_ms = time_ms - bought_ms[line, way]
        if found and 0 < gap_ms < gap_ms_min:
            continue
        if intervals[row, 2] >= observations_max:
            intervals[row] *= (observations_max - 1.0) / intervals[row, 2]
        intervals[row, 2] += 1.0
        if found and gap_ms > 0:
            intervals[row, 0] += 1.0
            intervals[row, 1] += np.log(float(gap_ms))
        if not found or gap_ms > 0:
            buyers[line, way], bought_rows[line, way], bought_ms[line, way] = buyer, row, time_ms


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    model = BuyAgain(BuyAgainParameters(buyers_max=4))
    model.update(0, 0, Kind.PURCHASE, 1)
