"""A small attention net over the visitor's newest events, served: the last event asks, the others answer.

One layer, no recurrence (after STAMP, Liu et al., 2018, and NISER, Gupta et al., 2019): unit vectors on both sides, so
that popular items do not win by their length, and a softmax sharpened to make up for it.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import EMPTY, KIND_WEIGHT, NOTHING_BLOCKED, Blocked, Events, Prefix, Scored, State
from recommender.scan import best_by_product

_FAST = {"reassoc", "contract", "nsz", "arcp"}


class AttentionParameters(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        factors: length of a vector.
        last: newest events of the prefix that are looked at.
        sharpness: what cosines are multiplied by before the softmax.
        epochs: passes over the sessions, fewer where `examples_seen_max` says so; the last two at a tenth of the rate.
        examples_seen_max: in all passes together; two passes are made whatever it is.
        batch: examples a step.
        learning_rate: of Adam.
        dropout: share of an event's numbers that a step does not see.
        sampled_max: items a batch is scored against; a smaller catalogue is scored whole.
        seed: of the start, the order and the draws.
    """

    factors: int = 100
    last: int = 12
    sharpness: float = 14.0
    epochs: int = 8
    examples_seen_max: int = 1_500_000
    batch: int = 512
    learning_rate: float = 0.006
    dropout: float = 0.5
    sampled_max: int = 4096
    seed: int = 7


class AttentionWeights(NamedTuple):
    """What training gives, float32.

    Attributes:
        items: shape (n, f), of length 1; zeros for an item training did not see.
        places: shape (last, f), by distance from the end, the newest last.
        query, from_session, from_last: shape (f, f).
    """

    items: NDArray[np.float32]
    places: NDArray[np.float32]
    query: NDArray[np.float32]
    from_session: NDArray[np.float32]
    from_last: NDArray[np.float32]


class Attention:
    """The net, frozen as it was trained; items that came later are not in its lists until the next training."""

    name = "attention"

    def __init__(self, weights: AttentionWeights) -> None:
        self.weights = AttentionWeights(*(np.ascontiguousarray(each, np.float32) for each in weights))

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Nothing: it learns in the background only."""

    def update_many(self, events: Events, /) -> None:
        """Nothing: it learns in the background only."""

    def vector(self, prefix: Prefix) -> NDArray[np.float32]:
        """Shape (f,), of length 1: where the prefix points; zeros when none of it is known."""
        known = (prefix.rows < len(self.weights.items)) & (KIND_WEIGHT[prefix.kinds] > 0)
        point: NDArray[np.float32] = _point(*self.weights, prefix.rows[known].astype(np.int32))
        return point

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """All items by cosine; those above zero."""
        vector = self.vector(prefix)
        if not vector.any():
            return EMPTY
        found = best_by_product(self.weights.items, vector, n, blocked)
        above = int(np.searchsorted(-found.scores, 0.0))
        return Scored(found.rows[:above], found.scores[:above])

    def state(self) -> dict[str, NDArray[Any]]:
        """The weights."""
        return {name: array.copy() for name, array in self.weights._asdict().items()}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.__init__(AttentionWeights(*(state[name] for name in AttentionWeights._fields)))  # type: ignore[misc]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _point(items, places, query, from_session, from_last, rows):  # type: ignore[no-untyped-def]
    size, count = items.shape[1], min(len(rows), len(places))
    point = np.zeros(size, np.float32)
    if count == 0:
        return point
    last = rows[len(rows) - 1]
    asked = np.zeros(size, np.float32)
    for f in range(size):
        value = items[last, f]
        for g in range(size):
            asked[g] += value * query[f, g]
            point[g] += value * from_last[f, g]
    says = np.empty(count, np.float32)
    largest = np.float32(-1e30)
    for back in range(count):
        row, place = rows[len(rows) - 1 - back], len(places) - 1 - back
        along = np.float32(0.0)
        for f in range(size):
            along += asked[f] * (items[row, f] + places[place, f])
        says[back] = along
        largest = max(largest, along)
    total = np.float32(0.0)
    for back in range(count):
        says[back] = np.exp(says[back] - largest)
        total += says[back]
    session = np.zeros(size, np.float32)
    for back in range(count):
        row, say = rows[len(rows) - 1 - back], says[back] / total
        for f in range(size):
            session[f] += say * items[row, f]
    length = np.float32(0.0)
    for f in range(size):
        for g in range(size):
            point[g] += session[f] * from_session[f, g]
    for g in range(size):
        length += point[g] * point[g]
    if length > 0.0:
        for g in range(size):
            point[g] /= np.sqrt(length)
    return point


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    square = np.eye(2, dtype=np.float32)
    model = Attention(AttentionWeights(square, square, square, square, square))
    model.scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
