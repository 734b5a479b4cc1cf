"""Let a list be of more than one category: each further item of a kind counts half as fresh as the one before."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import Scores

Order = NDArray[np.int32]


def diversified(scores: Scores, categories: NDArray[np.int32], n: int, *, diversity: float) -> Order:
    """Which candidate stands in which of `n` slots.

    Each slot takes the candidate of largest `(1 - diversity) * score / best score + diversity * freshness`, freshness
    halving with every item of its category that stands above: maximal marginal relevance (Carbonell and Goldstein,
    SIGIR 1998) with likeness told by the category alone. 0 is the order by score; 1 takes the categories in turns.

    Args:
        scores: shape (m,), best first, each >= 0; not modified.
        categories: shape (m,), codes; what has none (below 0) is like nothing.
        n: slots, >= 0; fewer are filled when m is less.
        diversity: 0 to 1.

    Returns:
        Shape (min(n, m),), places in `scores`; of equals the first.
    """
    order: Order = _diversified(scores, categories, min(n, len(scores)), np.float32(diversity))
    return order


@njit(cache=True, nogil=True)
def _diversified(scores, categories, n, diversity):  # type: ignore[no-untyped-def]
    count = len(scores)
    order = np.empty(n, np.int32)
    fresh = np.ones(count, np.float32)
    taken = np.zeros(count, np.bool_)
    scale = scores[0] if count and scores[0] > 0.0 else np.float32(1.0)
    for slot in range(n):
        best, best_value = -1, np.float32(-1.0)
        for place in range(count):
            if taken[place]:
                continue
            value = (np.float32(1.0) - diversity) * scores[place] / scale + diversity * fresh[place]
            if value > best_value:
                best, best_value = place, value
        order[slot] = best
        taken[best] = True
        if categories[best] >= 0:
            for place in range(count):
                if categories[place] == categories[best]:
                    fresh[place] *= np.float32(0.5)
    return order


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    diversified(np.ones(2, np.float32), np.zeros(2, np.int32), 1, diversity=0.5)
