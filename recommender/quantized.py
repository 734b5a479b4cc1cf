"""Serve iALS from a byte a number: scan the whole catalogue coarsely, then score the best of it exactly.

A scan is bound by memory. At 128 factors and 100,000 items the float32 matrix is 51 MB, past any cache; the bytes are
13 MB, and a scan takes 0.6 ms instead of 1.5.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.byte_products import dot_bytes
from recommender.fold_in import fold_in_prefix
from recommender.models.ials import Ials, IalsParameters
from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Events, Prefix, Scored, State, grown, plain
from recommender.scan import insert

_LEVELS = 127
# How many rows are scored exactly for each that is answered: recall against the exact scan is then .999 and more.
_RERANKED_PER_ANSWER = 1.5
_RERANKED_MORE = 16
# The sample that tells where the best begin, and how many more than wanted are then looked at.
_SAMPLE = 512
_MARGIN = 2.5
_FAST = {"reassoc", "contract", "nsz", "arcp"}


class ServedVectors(NamedTuple):
    """What the kernels read.

    Attributes:
        codes, scales: of `quantise`, shape (>= items, f) and (>= items,).
        exact: shape (>= items, f).
        gram: as `fold_in` takes it.
        items: rows from here on have no vector.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    exact: NDArray[np.float32]
    gram: NDArray[np.float32]
    items: int


class ServedIals(Ials):
    """`Ials` with a quantised copy of its vectors, kept in step with them row by row."""

    def __init__(self, parameters: IalsParameters | None = None, vectors: NDArray[np.float32] | None = None) -> None:
        super().__init__(parameters, vectors)
        self._codes, self._scales = quantise(self.factors.live)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Make room for a new item."""
        super().update(session, row, kind, time_ms)
        self._reserve()

    def update_many(self, events: Events, /) -> None:
        """Make room for new items."""
        super().update_many(events)
        self._reserve()

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        super().set_block(block)
        self._reserve()
        rows = block["rows"]
        self._codes[rows], self._scales[rows] = quantise(self.factors.vectors[rows])

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        super().load(state)
        self._codes, self._scales = quantise(self.factors.live)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """All items by inner product, as `Ials` gives them, but for near ties at the end of the list."""
        rows, kinds = plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8)
        return Scored(*_answer(self.vectors(), self.settings(), rows, kinds, n, blocked))

    def vectors(self) -> ServedVectors:
        """What kernels read; good until the next update."""
        factors = self.factors
        return ServedVectors(self._codes, self._scales, factors.vectors, factors.gram, len(factors))

    def _reserve(self) -> None:
        count = len(self.factors)
        self._codes = grown(self._codes, count)
        self._scales = grown(self._scales, count)


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`codes, scales` with `vectors ≈ codes * scales[:, None]`, each row by its own largest number.

    Args:
        vectors: shape (n, f), finite; not modified. A row of zeros has scale 0.
    """
    scales = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float32) / np.float32(_LEVELS)
    steps = np.where(scales > 0, scales, np.float32(1.0))
    return np.rint(vectors / steps[:, None]).astype(np.int8), scales


@njit(cache=True, nogil=True)
def visitor_products(vectors, settings, prefix, kinds, n, blocked):  # type: ignore[no-untyped-def]
    """All items by product with the vector of one who did `prefix`: at most `n` rows, best first, and their scores.

    Args:
        vectors: `ServedVectors`.
        settings: `FoldInSettings`.
        prefix, kinds: of the visitor, oldest first.
        blocked: rows left out are True; rows past its end are not blocked.
    """
    items = vectors.items
    vector = fold_in_prefix(vectors.gram, vectors.exact, items, prefix, kinds, settings)
    if not vector.any():
        return np.empty(0, np.int32), np.empty(0, np.float32)
    wanted = int(n * _RERANKED_PER_ANSWER) + _RERANKED_MORE
    return quantised_products(vectors.codes[:items], vectors.scales[:items], vectors.exact, vector, n, wanted, blocked)


@njit(cache=True, nogil=True)
def scan_quantised(codes, scales, vectors, query, n, wanted, blocked):  # type: ignore[no-untyped-def]
    """The best `n` rows by exact product among the best `wanted` by coarse product, ties by row.

    Args:
        codes, scales: of all rows, from `quantise`.
        vectors: shape (>= n_items, f), the exact ones.
        query: shape (f,).
        blocked: rows left out are True; rows past its end are not blocked.
    """
    return quantised_products(codes, scales, vectors, query, n, wanted, blocked)


@njit(cache=True, nogil=True, fastmath=_FAST)
def quantised_products(codes, scales, vectors, query, n, wanted, blocked):  # type: ignore[no-untyped-def]
    """Kernel of `scan_quantised`."""
    coarse = np.empty(len(codes), np.float32)
    _multiply(codes, scales, query, coarse)
    coarse_rows = np.empty(len(codes), np.int32)
    filled = _collect(coarse, blocked, _floor(coarse, wanted), coarse_rows)
    if filled < wanted:
        # The sample misled, or most of the best are blocked.
        filled = _collect(coarse, blocked, np.float32(-np.inf), coarse_rows)
    if filled > wanted:
        filled = _keep_best(coarse, coarse_rows, filled, wanted)
    # Before any is compared: a wrong guess at a comparison would stop the rows to come from being fetched meanwhile.
    exact = np.empty(filled, np.float32)
    for place in range(filled):
        vector = vectors[coarse_rows[place]]
        score = np.float32(0.0)
        for f in range(len(query)):
            score += vector[f] * query[f]
        exact[place] = score
    rows = np.empty(n, np.int32)
    scores = np.empty(n, np.float32)
    kept = 0
    for place in range(filled):
        if kept < n or exact[place] > scores[n - 1]:
            kept = insert(rows, scores, kept, coarse_rows[place], exact[place])
    return rows[:kept], scores[:kept]


@njit(cache=True, nogil=True)
def _floor(scores, wanted):  # type: ignore[no-untyped-def]
    """A score that somewhat more than `wanted` of `scores` reach, told by a sample of them.

    With it the one pass over all scores hardly ever says yes, which a processor guesses right; a list that
    is filled and halved as the pass goes on cost twice the products.
    """
    stride = len(scores) // _SAMPLE
    if stride < 2:
        return np.float32(-np.inf)
    sample = scores[::stride].copy()
    reach = int(_MARGIN * wanted / stride) + 4
    if reach >= len(sample):
        return np.float32(-np.inf)
    return np.partition(sample, len(sample) - reach)[len(sample) - reach]


@njit(cache=True, nogil=True)
def _collect(scores, blocked, floor, rows):  # type: ignore[no-untyped-def]
    filled = 0
    for row in range(len(scores)):
        if scores[row] >= floor and not (row < len(blocked) and blocked[row]):
            rows[filled] = row
            filled += 1
    return filled


@njit(cache=True, nogil=True)
def _keep_best(scores, rows, filled, wanted):  # type: ignore[no-untyped-def]
    """Compact `rows` to the best `wanted`, of equals the first, in order."""
    found = scores[rows[:filled]]
    floor = np.partition(found, filled - wanted)[filled - wanted]
    equals = wanted
    for place in range(filled):
        if found[place] > floor:
            equals -= 1
    kept = 0
    for place in range(filled):
        if found[place] < floor:
            continue
        if found[place] == floor:
            if equals == 0:
                continue
            equals -= 1
        rows[kept] = rows[place]
        kept += 1
    return kept


@njit(cache=True, nogil=True)
def _multiply(codes, scales, query, out):  # type: ignore[no-untyped-def]
    """Into `out`: the coarse products, but for the length of a step of `query`, which changes no order."""
    largest = np.float32(0.0)
    for f in range(len(query)):
        largest = max(largest, abs(query[f]))
    steps = np.zeros(len(query), np.int8)
    if largest > 0.0:
        for f in range(len(query)):
            steps[f] = np.int8(np.rint(query[f] * (np.float32(_LEVELS) / largest)))
    steps_sum = np.int32(steps.sum())
    # A loop of its own: mixed with the choosing it takes twice as long.
    for row in range(len(codes)):
        out[row] = np.float32(dot_bytes(codes, row, steps, steps_sum)) * scales[row]


@njit(cache=True, nogil=True)
def _answer(vectors, settings, prefix, kinds, n, blocked):  # type: ignore[no-untyped-def]
    return visitor_products(vectors, settings, prefix, kinds, n, blocked)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    vectors = np.eye(2, dtype=np.float32)
    codes, scales = quantise(vectors)
    scan_quantised(codes, scales, vectors, vectors[0], 1, 2, np.zeros(2, np.bool_))
    ServedIals().scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
