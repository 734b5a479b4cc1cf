"""What every model promises, and the arrays that go in and out of one."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_store.kinds import Kind

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]
Blocked = NDArray[np.bool_]
State = Mapping[str, NDArray[Any]]

NOTHING_BLOCKED: Blocked = np.zeros(0, np.bool_)

TIME_UNKNOWN = 0
"""The time of an event whose publisher dropped times."""


class Prefix(NamedTuple):
    """What a visitor did so far, oldest first; all three of the same length. Models do not change it.

    Attributes:
        rows: shape (n,), model rows, each >= 0.
        kinds: shape (n,), `feature_store.kinds.Kind`.
        times_ms: shape (n,), Unix milliseconds, `TIME_UNKNOWN` where there are none.
    """

    rows: Rows
    kinds: NDArray[np.uint8]
    times_ms: NDArray[np.int64]


class Events(NamedTuple):
    """Events to learn from, oldest first; all four of the same length.

    `sessions`: numbers that grow with the sessions' first events, each >= 0; the rest as in `Prefix`.
    """

    sessions: NDArray[np.int64]
    rows: Rows
    kinds: NDArray[np.uint8]
    times_ms: NDArray[np.int64]


class Scored(NamedTuple):
    """Rows, best first, ties by row, and their scores, each > 0 unless the model says otherwise."""

    rows: Rows
    scores: Scores


EMPTY = Scored(np.empty(0, np.int32), np.empty(0, np.float32))


class Model(Protocol):
    """One way to tell what comes next. Single-threaded; updates and scores may alternate freely."""

    @property
    def name(self) -> str:
        """As `evaluate --model` knows it."""
        ...

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Learn one event. `row` may be new: it is then the next one. Kinds without weight teach nothing."""
        ...

    def update_many(self, events: Events, /) -> None:
        """Learn `events` in order: the same as one `update` after another."""
        ...

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """At most `n` rows for what comes after `prefix`.

        Args:
            prefix: may be empty; not modified.
            n: >= 1.
            blocked: rows never to be answered are True; rows past its end are not blocked.
        """
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that `load` needs, keyed by name."""
        ...

    def load(self, state: State, /) -> None:
        """Take over a `state()`; what was learnt before is dropped."""
        ...


def _weights() -> NDArray[np.float32]:
    weights = np.zeros(256, np.float32)
    weights[Kind.VIEW] = 1.0
    weights[Kind.SELECT] = 1.0
    weights[Kind.ADD_TO_CART] = 2.0
    weights[Kind.PURCHASE] = 3.0
    weights.flags.writeable = False
    return weights


KIND_WEIGHT = _weights()
"""Shape (256,): how much an event of each kind says; 0 teaches nothing (removals, refunds, searches)."""


def empty_prefix() -> Prefix:
    """The prefix of a visitor who has done nothing yet."""
    return Prefix(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))


def grown(array: NDArray[Any], rows: int, fill: float = 0) -> NDArray[Any]:
    """`array` itself when it has `rows` rows, else a copy with at least twice its rows, the new ones `fill`."""
    if len(array) >= rows:
        return array
    larger = np.full((max(rows, 2 * len(array), 64), *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger


def plain(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """`array` as the kernels were compiled for: of `dtype`, contiguous, writable; a copy only where it is not.

    A read-only view or a stride would make numba compile once more, in the middle of an answer.
    """
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.writeable:
        return array
    return np.require(array, dtype, ["C", "W"])


def plain_events(events: Events) -> Events:
    """`plain` for every column."""
    return Events(
        plain(events.sessions, np.int64),
        plain(events.rows, np.int32),
        plain(events.kinds, np.uint8),
        plain(events.times_ms, np.int64),
    )
