"""Sessions like this one: VMIS-kNN (Kersbergen et al., 2022) with STAN's weights (Garg et al., 2019).

The index takes every event as it comes: a session's newest rows lie in a ring of sessions, and an item leads through a
chain of postings to the sessions that held it, newest first. Both are of fixed size and overwrite their oldest.
"""

from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.knn_kernels import (
    KnnIndex,
    KnnSettings,
    index_events,
    index_sessions,
    neighbours,
    session_votes,
)
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
from recommender.models.session_ring import SessionRing

NO_POSTING = -1


class SessionKnnParameters(msgspec.Struct, frozen=True):
    """Settings; the defaults do well on every public set tried.

    Attributes:
        sessions_per_item: newest sessions of an item that are walked.
        neighbours: sessions that vote.
        last: newest events of the prefix that are compared.
        recency: events in which an item's say in the comparison falls to 1/e.
        age: of a session, as a share of all held, in which its say falls to 1/e.
        reach: steps from the match in which a neighbour's item falls to 1/e.
        before: what items before the match count.
        self_weight: what the matched item itself counts.
        rarity: power of the inverse document frequency in the comparison.
        rarity_answer: the same in the vote.
        sessions_max: sessions held.
        items_max: newest rows held of a session.
        postings_max: links from items to sessions.
        keep_repeats: an event on the item at hand is an event of its own.
    """

    sessions_per_item: int = 500
    neighbours: int = 100
    last: int = 8
    recency: float = 3.0
    age: float = 4.0
    reach: float = 3.0
    before: float = 1.0
    self_weight: float = 2.0
    rarity: float = 1.0
    rarity_answer: float = 1.0
    sessions_max: int = 131_072
    items_max: int = 30
    postings_max: int = 1_048_576
    keep_repeats: bool = False


class SessionKnn:
    """Neighbouring sessions vote for what came near the match."""

    name = "session-knn"

    def __init__(self, parameters: SessionKnnParameters | None = None) -> None:
        self.parameters = parameters if parameters is not None else SessionKnnParameters()
        self._ring = SessionRing(sessions_max=self.parameters.sessions_max, items_max=self.parameters.items_max)
        self._heads = np.full(0, NO_POSTING, np.int64)
        self._frequencies = np.zeros(0, np.int32)
        # A session's number and the link to the item's posting before, side by side: a walk reads both.
        self._postings = np.zeros((self.parameters.postings_max, 2), np.int64)
        # Postings ever made, newest session number, sessions held: kernels change them in place.
        self._totals = np.array([0, -1, 0], np.int64)
        self._session_scratch = np.zeros((self.parameters.sessions_max, 3), np.float32)
        self._item_scores = np.zeros(0, np.float32)
        self._items = 0
        self.settings = _settings(self.parameters)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Index one event."""
        self.update_many(
            Events(
                np.array([session], np.int64),
                np.array([row], np.int32),
                np.array([kind], np.uint8),
                np.array([time_ms], np.int64),
            )
        )

    def update_many(self, events: Events, /) -> None:
        """Index many."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._reserve(int(events.rows.max()) + 1)
        index_events(  # type: ignore[call-arg]
            *self._learning(),
            *(events.sessions, events.rows, KIND_WEIGHT[events.kinds], events.times_ms),
            self.parameters.keep_repeats,
        )

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The vote of the nearest sessions; the visitor's own session, told by its newest time and row, is none."""
        if len(prefix.rows) == 0 or self._items == 0:
            return EMPTY
        rows, times_ms = plain(prefix.rows, np.int32), plain(prefix.times_ms, np.int64)
        return Scored(*_answer(self.index(), self.settings, rows, times_ms, n, blocked))

    def index(self) -> KnnIndex:
        """What kernels read; good until the next update."""
        ring = self._ring
        return KnnIndex(
            *(ring.rows, ring.lengths, ring.numbers, ring.times_ms),
            *(self._heads, self._frequencies, self._postings, self._totals),
            *(self._session_scratch, self._item_scores, self._items),
        )

    def nearest(self, rows: Rows, times_ms: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The sessions that vote on one who did `rows`: slots of the ring, similarities, distances of the match."""
        found: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] = _nearest(self.index(), self.settings, rows, times_ms)
        return found

    def held(self) -> tuple[Rows, NDArray[np.int32], NDArray[np.float32]]:
        """The rows and lengths of the ring, views; and by row how rare it is among the sessions held."""
        sessions = np.float32(max(1, (self._ring.numbers >= 0).sum()))
        frequencies = np.maximum(1, self._frequencies[: self._items]).astype(np.float32)
        return self._ring.rows, self._ring.lengths, np.maximum(np.float32(1e-3), np.log(sessions / frequencies))

    def block(self, sessions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The rows of `sessions` (all held, oldest first), for `set_block` of a replica."""
        slots = sessions % len(self._ring.numbers)
        return {
            "sessions": sessions,
            "rows": self._ring.rows[slots],
            "lengths": self._ring.lengths[slots],
            "times_ms": self._ring.times_ms[slots],
        }

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once.

        Raises:
            ValueError: its sessions hold another number of rows than `items_max`.
        """
        if len(block["sessions"]) == 0:
            return
        if block["rows"].shape[1] != self.parameters.items_max:
            raise ValueError(
                f"wanted sessions of items_max={self.parameters.items_max} rows; got {block['rows'].shape[1]}; "
                "give the replica the learner's parameters"
            )
        self._reserve(int(block["rows"].max()) + 1)
        index_sessions(  # type: ignore[call-arg]
            *self._learning(),
            *(plain(block["sessions"], np.int64), plain(block["rows"], np.int32)),
            *(plain(block["lengths"], np.int32), plain(block["times_ms"], np.int64)),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The sessions, oldest first; the index is made of them again."""
        held = np.sort(self._ring.numbers[self._ring.numbers >= 0])
        return self.block(held)

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.__init__(self.parameters)  # type: ignore[misc]
        self.set_block(state)

    @property
    def nbytes(self) -> int:
        """What the model takes, whatever it holds of its limits."""
        arrays = (self._heads, self._frequencies, self._postings, self._session_scratch, self._item_scores)
        return self._ring.nbytes + sum(array.nbytes for array in arrays)

    def _learning(self) -> tuple[NDArray[Any], ...]:
        ring = self._ring
        links = (self._heads, self._frequencies, self._postings, self._totals)
        return (ring.rows, ring.lengths, ring.numbers, ring.times_ms, *links)

    def _reserve(self, items: int) -> None:
        self._heads = grown(self._heads, items, NO_POSTING)
        self._frequencies = grown(self._frequencies, items)
        self._item_scores = grown(self._item_scores, items)
        self._items = max(self._items, items)


def _settings(p: SessionKnnParameters) -> KnnSettings:
    return KnnSettings(
        *(p.sessions_per_item, p.neighbours, p.last),
        *(np.float32(p.recency), np.float32(p.age), np.float32(p.reach), np.float32(p.before)),
        *(np.float32(p.self_weight), np.float32(p.rarity), np.float32(p.rarity_answer)),
    )


@njit(cache=True, nogil=True)
def _answer(index, settings, prefix, prefix_times_ms, n, blocked):  # type: ignore[no-untyped-def]
    return session_votes(index, settings, prefix, prefix_times_ms, n, blocked)


@njit(cache=True, nogil=True)
def _nearest(index, settings, prefix, prefix_times_ms):  # type: ignore[no-untyped-def]
    return neighbours(index, settings, prefix, prefix_times_ms)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this model."""
    model = SessionKnn(SessionKnnParameters(sessions_max=2, postings_max=4))
    model.update(0, 0, 1, 1)
    model.update(0, 1, 1, 2)
    model.scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
    model.load(model.state())
