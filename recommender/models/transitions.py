"""What follows what: sequential rules between items, learnt event by event (Kamehkhosh et al., 2017, with decay)."""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.popularity import DAY_MS
from recommender.models.protocol import (
    EMPTY,
    KIND_WEIGHT,
    NOTHING_BLOCKED,
    Blocked,
    Events,
    Prefix,
    Rows,
    Scored,
    State,
    grown,
    plain,
    plain_events,
)
from recommender.models.session_ring import SessionRing, append, open_slot
from recommender.scan import best_among

NO_ITEM = -1


class TransitionParameters(msgspec.Struct, frozen=True):
    """Settings, tuned on the validation parts of several public sets.

    Attributes:
        steps: how far back an event reaches within its session; a pair `d` steps apart counts `1 / d`.
        reverse: what the opposite direction counts.
        norm: power of a row's sum that its weights are divided by.
        last: how many of the newest events are asked.
        decay: of an event's say per step back, `exp(-decay * distance)`.
        half_life_ms: in which a transition's weight halves.
        neighbours_max: per item; the lightest is replaced.
        sessions_max: open sessions whose newest rows are kept.
        keep_repeats: an event on the item at hand is an event of its own, so that an item may follow itself.
    """

    steps: int = 10
    reverse: float = 0.6
    norm: float = 0.85
    last: int = 12
    decay: float = 1.0
    half_life_ms: float = 14.0 * DAY_MS
    neighbours_max: int = 100
    sessions_max: int = 65_536
    keep_repeats: bool = False


class TransitionRows(NamedTuple):
    """What the kernel reads; the scratch is written too, and left as it was found.

    Attributes:
        neighbours, weights: shape (>= items, neighbours_max), each item's followers, `NO_ITEM` behind the last.
        sums, times_ms: shape (>= items,), all that was counted for the item, as of then.
        totals: shape (>= items,), zeros.
        items: rows that are known.
        newest_ms: what "now" is to the ages.
    """

    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    sums: NDArray[np.float32]
    times_ms: NDArray[np.int64]
    totals: NDArray[np.float32]
    items: int
    newest_ms: int


class TransitionSettings(NamedTuple):
    """What of `TransitionParameters` an answer takes."""

    last: int
    decay: np.float32
    norm: np.float32
    half_life_ms: float


class Transitions:
    """Per item the heaviest `neighbours_max` followers. A row is aged when it is written and again when it is read."""

    name = "transitions"

    def __init__(self, parameters: TransitionParameters | None = None) -> None:
        self.parameters = parameters if parameters is not None else TransitionParameters()
        self._sessions = SessionRing(sessions_max=self.parameters.sessions_max, items_max=self.parameters.steps + 1)
        self._neighbours = np.full((0, self.parameters.neighbours_max), NO_ITEM, np.int32)
        self._weights = np.zeros((0, self.parameters.neighbours_max), np.float32)
        self._sums = np.zeros(0, np.float32)
        self._times_ms = np.zeros(0, np.int64)
        self._totals = np.zeros(0, np.float32)
        self._items = 0
        self._newest_ms = 0
        self.settings = _settings(self.parameters)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Count the pairs that one event makes with the newest rows of its session."""
        self.update_many(_one(session, row, kind, time_ms))

    def update_many(self, events: Events, /) -> None:
        """Count many."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._reserve(int(events.rows.max()) + 1)
        parameters = self.parameters
        _learn(
            *(self._sessions.rows, self._sessions.lengths, self._sessions.numbers),
            *(self._neighbours, self._weights, self._sums, self._times_ms),
            *(events.sessions, events.rows, KIND_WEIGHT[events.kinds], events.times_ms),
            *(np.float32(parameters.reverse), float(parameters.half_life_ms), parameters.keep_repeats),
        )
        self._newest_ms = max(self._newest_ms, int(events.times_ms.max()))

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """Followers of the newest rows of `prefix`."""
        if len(prefix.rows) == 0 or self._items == 0:
            return EMPTY
        return Scored(*_answer(self.rows(), self.settings, plain(prefix.rows, np.int32), n, blocked))

    def rows(self) -> TransitionRows:
        """What kernels read; good until the next update."""
        return TransitionRows(
            *(self._neighbours, self._weights, self._sums, self._times_ms),
            *(self._totals, self._items, self._newest_ms),
        )

    @property
    def newest_ms(self) -> int:
        """Time of the newest event learnt; 0 before the first."""
        return self._newest_ms

    def followers(self) -> tuple[Rows, NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], float]:
        """By row the followers (-1: none), their weights, the sum of all weights, as of when, and their half-life.

        The arrays themselves, longer than there are items, for kernels that read them in place.
        """
        return self._neighbours, self._weights, self._sums, self._times_ms, self.parameters.half_life_ms

    def block(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What is held of `rows`, absolutely, for `set_block` of a replica."""
        return {
            "rows": rows,
            "neighbours": self._neighbours[rows],
            "weights": self._weights[rows],
            "sums": self._sums[rows],
            "times_ms": self._times_ms[rows],
        }

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        rows = block["rows"]
        if len(rows) == 0:
            return
        self._reserve(int(max(rows.max(), block["neighbours"].max())) + 1)
        self._neighbours[rows] = block["neighbours"]
        self._weights[rows] = block["weights"]
        self._sums[rows] = block["sums"]
        self._times_ms[rows] = block["times_ms"]
        self._newest_ms = max(self._newest_ms, int(block["times_ms"].max()))

    def newest_rows(self, session: int) -> Rows:
        """The rows that an open session has shown last, oldest first; empty when it is not held. A copy."""
        return self._sessions.session(session)

    def touched_by(self, session: int) -> Rows:
        """The rows whose followers the newest event of `session` may have changed: its newest rows."""
        return np.unique(self._sessions.session(session))

    def state(self) -> dict[str, NDArray[Any]]:
        """Followers, weights and open sessions."""
        return {**self.block(np.arange(self._items, dtype=np.int32)), **self._sessions.state()}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.__init__(self.parameters)  # type: ignore[misc]
        self._sessions.load(state)
        self.set_block(state)

    def _reserve(self, items: int) -> None:
        self._neighbours = grown(self._neighbours, items, NO_ITEM)
        self._weights = grown(self._weights, items)
        self._sums = grown(self._sums, items)
        self._times_ms = grown(self._times_ms, items)
        self._totals = grown(self._totals, items)
        self._items = max(self._items, items)


def _settings(p: TransitionParameters) -> TransitionSettings:
    return TransitionSettings(p.last, np.float32(p.decay), np.float32(p.norm), float(p.half_life_ms))


def _one(session: int, row: int, kind: int, time_ms: int) -> Events:
    return Events(
        np.array([session], np.int64),
        np.array([row], np.int32),
        np.array([kind], np.uint8),
        np.array([time_ms], np.int64),
    )


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, neighbours, weights, sums, times_ms,
    sessions, rows, event_weights, event_times_ms, reverse, half_life_ms, keep_repeats,
):  # fmt: skip
    for event in range(len(rows)):
        if event_weights[event] <= 0.0:
            continue
        slot = open_slot(ring_numbers, ring_lengths, sessions[event])
        if slot < 0:
            continue
        row, time_ms = rows[event], event_times_ms[event]
        length = ring_lengths[slot]
        # A second event on the item at hand (viewed, then put into the cart) is no transition, unless asked for.
        if length > 0 and ring_rows[slot, length - 1] == row and not keep_repeats:
            continue
        steps = min(length, ring_rows.shape[1] - 1)
        for distance in range(1, steps + 1):
            before = ring_rows[slot, length - distance]
            weight = np.float32(1.0) / np.float32(distance)
            if _known(ring_rows, slot, length, before, row):
                continue
            _add(neighbours, weights, sums, times_ms, before, row, weight, time_ms, half_life_ms)
            if reverse > 0.0:
                _add(neighbours, weights, sums, times_ms, row, before, weight * reverse, time_ms, half_life_ms)
        append(ring_rows, ring_lengths, slot, row)


@njit(cache=True, nogil=True)
def _known(ring_rows, slot, length, before, row):  # type: ignore[no-untyped-def]
    """Has this session gone from `before` to `row` already? A visitor who goes to and fro says it once."""
    seen = False
    for place in range(length):
        if seen and ring_rows[slot, place] == row:
            return True
        seen = seen or ring_rows[slot, place] == before
    return False


@njit(cache=True, nogil=True)
def _add(neighbours, weights, sums, times_ms, row, follower, weight, time_ms, half_life_ms):  # type: ignore[no-untyped-def]
    ahead_ms = time_ms - times_ms[row]
    if ahead_ms > 0:
        ageing = np.float32(2.0 ** (-ahead_ms / half_life_ms))
        for place in range(neighbours.shape[1]):
            weights[row, place] *= ageing
        sums[row] *= ageing
        times_ms[row] = time_ms
    elif ahead_ms < 0:
        weight *= np.float32(2.0 ** (ahead_ms / half_life_ms))
    sums[row] += weight
    lightest = 0
    for place in range(neighbours.shape[1]):
        if neighbours[row, place] == follower:
            weights[row, place] += weight
            return
        if neighbours[row, place] == NO_ITEM:
            lightest = place
            break
        if weights[row, place] < weights[row, lightest]:
            lightest = place
    neighbours[row, lightest] = follower
    weights[row, lightest] = weight


@njit(cache=True, nogil=True)
def followers(rows, settings, prefix, n, blocked):  # type: ignore[no-untyped-def]
    """Followers of the newest items of `prefix`: at most `n` rows, best first, and their scores.

    Args:
        rows: `TransitionRows`; its scratch is clean before and after.
        settings: `TransitionSettings`.
        prefix: of the visitor, oldest first.
        blocked: rows left out are True; rows past its end are not blocked.
    """
    last = min(settings.last, len(prefix))
    width = rows.neighbours.shape[1]
    touched = np.empty(last * width, np.int32)
    count = 0
    for distance in range(last):
        row = prefix[len(prefix) - 1 - distance]
        if row >= rows.items or rows.sums[row] <= 0.0:
            continue
        ageing = np.float32(2.0 ** (-max(0, rows.newest_ms - rows.times_ms[row]) / settings.half_life_ms))
        say = np.exp(-settings.decay * np.float32(distance)) * ageing / (ageing * rows.sums[row]) ** settings.norm
        for place in range(width):
            follower = rows.neighbours[row, place]
            if follower == NO_ITEM:
                break
            if rows.totals[follower] == 0.0:
                touched[count] = follower
                count += 1
            rows.totals[follower] += say * rows.weights[row, place]
    scores = np.empty(count, np.float32)
    kept = 0
    for i in range(count):
        follower = touched[i]
        score = rows.totals[follower]
        rows.totals[follower] = 0.0
        if score > 0.0 and not (follower < len(blocked) and blocked[follower]):
            touched[kept], scores[kept] = follower, score
            kept += 1
    return best_among(touched[:kept], scores[:kept], n)


@njit(cache=True, nogil=True)
def _answer(rows, settings, prefix, n, blocked):  # type: ignore[no-untyped-def]
    return followers(rows, settings, prefix, n, blocked)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    model = Transitions(TransitionParameters(sessions_max=2))
    model.update(0, 0, 1, 1)
    model.update(0, 1, 1, 2)
    model.scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
