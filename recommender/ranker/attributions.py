"""Why the trees rank a candidate where they do: exact Shapley values of its features (TreeSHAP, Lundberg et al., 2018).

What the trees would say without a feature is what their training rows said, in the shares in which they parted at the
splits.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.ranker.features import FEATURES
from recommender.ranker.trees import Trees


class Attributions(NamedTuple):
    """`base`: what the trees say of nobody in particular; `values`: shape (c, len(FEATURES)).

    `base + values[i].sum()` is the score of candidate `i`.
    """

    base: float
    values: NDArray[np.float64]


def attribute(trees: Trees, features: NDArray[np.float32]) -> Attributions:
    """Each feature's share in each candidate's score.

    Args:
        trees: not modified.
        features: shape (len(FEATURES), c), as `score` takes them.
    """
    totals = np.maximum(trees.counts.sum(axis=1), 1e-12)
    base = float(((trees.leaves * trees.counts).sum(axis=1) / totals).sum())
    columns = np.ascontiguousarray(features, np.float32)
    return Attributions(base, _attribute(*trees, columns, len(FEATURES)))


@njit(cache=True, nogil=True)
def _attribute(features, thresholds, lefts, spans, leaves, counts, values, size):  # type: ignore[no-untyped-def]
    answer = np.zeros((values.shape[1], size), np.float64)
    width = features.shape[1]
    seen, place_of, on_left = np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width, np.bool_)
    without, inside = np.empty(width, np.float64), np.empty(width, np.float64)
    by_size = np.empty(width, np.float64)
    for tree in range(len(features)):
        for leaf in range(leaves.shape[1]):
            # The distinct features on the way to the leaf, and the share of training rows that went this way at each.
            length = _way(features, lefts, spans, counts, tree, leaf, seen, place_of, on_left, without)
            for i in range(values.shape[1]):
                inside[:length] = 1.0
                for split in range(width):
                    if place_of[split] >= 0:
                        goes_left = not values[features[tree, split], i] > thresholds[tree, split]
                        if on_left[split] != goes_left:
                            inside[place_of[split]] = 0.0
                for place in range(length):
                    share = _share(without, inside, length, place, by_size)
                    answer[i, seen[place]] += leaves[tree, leaf] * (inside[place] - without[place]) * share
    return answer


@njit(cache=True, nogil=True)
def _way(features, lefts, spans, counts, tree, leaf, seen, place_of, on_left, without):  # type: ignore[no-untyped-def]
    bit, length = 1 << leaf, 0
    for split in range(features.shape[1]):
        place_of[split] = -1
        if spans[tree, split] & bit == 0:
            continue
        place = 0
        while place < length and seen[place] != features[tree, split]:
            place += 1
        if place == length:
            seen[place], without[place] = features[tree, split], 1.0
            length += 1
        place_of[split] = place
        on_left[split] = lefts[tree, split] & bit != 0
        way = lefts[tree, split] if on_left[split] else spans[tree, split] & ~lefts[tree, split]
        whole = _rows(counts, tree, spans[tree, split])
        without[place] *= _rows(counts, tree, way) / whole if whole > 0 else 0.5
    return length


@njit(cache=True, nogil=True)
def _rows(counts, tree, bits):  # type: ignore[no-untyped-def]
    total = 0.0
    for leaf in range(counts.shape[1]):
        if bits & (1 << leaf):
            total += counts[tree, leaf]
    return total


@njit(cache=True, nogil=True)
def _share(without, inside, length, left_out, by_size):  # type: ignore[no-untyped-def]
    """Σ over subsets S of the others of |S|!(m-1-|S|)!/m! · Π inside over S · Π without over the rest."""
    by_size[:length] = 0.0
    by_size[0] = 1.0
    filled = 0
    for other in range(length):
        if other == left_out:
            continue
        for size in range(filled + 1, -1, -1):
            kept = by_size[size] * without[other] if size <= filled else 0.0
            joined = by_size[size - 1] * inside[other] if size > 0 else 0.0
            by_size[size] = kept + joined
        filled += 1
    weight, total = 1.0 / length, 0.0
    for size in range(length):
        total += weight * by_size[size]
        if size + 1 < length:
            weight *= (size + 1) / (length - 1 - size)
    return total
