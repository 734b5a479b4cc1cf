"""Find the exact best rows of a whole catalogue, by inner product or by given scores."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Scored, Scores

# Without `nnan` and `ninf`: a NaN score must compare false and never be answered.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def best_by_product(
    factors: NDArray[np.float32], vector: NDArray[np.float32], n: int, blocked: Blocked = NOTHING_BLOCKED
) -> Scored:
    """The `n` rows of largest inner product with `vector`, best first, ties by row.

    Args:
        factors: shape (n_items, f), C-contiguous.
        vector: shape (f,).
        n: >= 1; fewer are answered when fewer are not blocked.
        blocked: rows left out are True; rows past its end are not blocked.
    """
    rows, scores = scan(factors, vector, n, blocked)
    return Scored(rows, scores)


def best_of(scores: Scores, n: int, blocked: Blocked = NOTHING_BLOCKED, *, above: float = -np.inf) -> Scored:
    """The `n` rows of largest `scores` that are > `above`, best first, ties by row."""
    rows, best = top_n(scores, n, blocked, np.float32(above))
    return Scored(rows, best)


@njit(cache=True, nogil=True)
def insert(rows, scores, filled, row, score):  # type: ignore[no-untyped-def]
    """Put `row` into the sorted list of `filled` entries, among its equals by row; return the new `filled`.

    The last entry falls out of a full list; the caller has made sure that `score` beats it.
    """
    place = min(filled, len(rows) - 1)
    while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and rows[place - 1] > row)):
        scores[place] = scores[place - 1]
        rows[place] = rows[place - 1]
        place -= 1
    scores[place] = score
    rows[place] = row
    return min(filled + 1, len(rows))


@njit(cache=True, nogil=True, fastmath=_FAST)
def scan(factors, vector, n, blocked):  # type: ignore[no-untyped-def]
    """Kernel of `best_by_product`: float32 products, one pass, no full array of scores."""
    rows = np.empty(n, np.int32)
    scores = np.empty(n, np.float32)
    filled = 0
    for row in range(len(factors)):
        score = np.float32(0.0)
        for f in range(len(vector)):
            score += factors[row, f] * vector[f]
        if filled == n and not score > scores[n - 1]:
            continue
        if score != score or (row < len(blocked) and blocked[row]):
            continue
        filled = insert(rows, scores, filled, row, score)
    return rows[:filled], scores[:filled]


@njit(cache=True, nogil=True)
def top_n(values, n, blocked, above):  # type: ignore[no-untyped-def]
    """Kernel of `best_of`."""
    rows = np.empty(n, np.int32)
    scores = np.empty(n, np.float32)
    filled = 0
    for row in range(len(values)):
        score = values[row]
        if not score > above or (filled == n and not score > scores[n - 1]):
            continue
        if row < len(blocked) and blocked[row]:
            continue
        filled = insert(rows, scores, filled, row, score)
    return rows[:filled], scores[:filled]


@njit(cache=True, nogil=True)
def best_among(rows, scores, n):  # type: ignore[no-untyped-def]
    """The best `n` of distinct `rows` by `scores`, those above zero, best first, ties by row."""
    count = len(rows)
    floor = np.float32(0.0)
    if count > n:
        # Only what reaches the n-th best is sorted in; sorting all of it in as it comes costs three times as much.
        floor = np.partition(scores, count - n)[count - n]
    best_rows, best_scores = np.empty(n, np.int32), np.empty(n, np.float32)
    filled = 0
    for i in range(count):
        row, score = rows[i], scores[i]
        if score < floor or not score > 0.0:
            continue
        if filled < n or score > best_scores[n - 1] or (score == best_scores[n - 1] and row < best_rows[n - 1]):
            filled = insert(best_rows, best_scores, filled, row, score)
    return best_rows[:filled], best_scores[:filled]


@njit(cache=True, nogil=True)
def seen_later(prefix, distance):  # type: ignore[no-untyped-def]
    """Does the row `distance` steps before the newest of `prefix` stand in it again, nearer to the newest?"""
    place = len(prefix) - 1 - distance
    for later in range(place + 1, len(prefix)):  # noqa: SIM110 - numba wants the loop
        if prefix[later] == prefix[place]:
            return True
    return False


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    ones = np.ones((2, 4), np.float32)
    best_by_product(ones, ones[0], 1)
    best_of(ones[0], 1)
