"""Hit rate, reciprocal rank and discounted gain of single-answer lists, with errors that respect sessions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSED = 0
RESAMPLES = 1000


class Metrics(NamedTuple):
    """One set of figures: hit rate, mean reciprocal rank, normalised discounted cumulative gain."""

    hr: float
    mrr: float
    ndcg: float


def ranks_of(lists: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """1-based place of each label in its list, `MISSED` where it is not in it.

    Args:
        lists: shape (n, k), rows best first, filled up with -1.
        labels: shape (n,), -1 for an item nobody knows: always missed.
    """
    hits = (lists == labels[:, None]) & (labels[:, None] >= 0)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, MISSED)


def gains(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shape (n, 3): what each target adds to hit rate, reciprocal rank and discounted gain.

    With one right answer the ideal gain is 1, so that the discounted gain is `1 / log2(1 + rank)`.
    """
    place = np.maximum(ranks, 1).astype(np.float64)
    columns = (np.ones_like(place), 1.0 / place, 1.0 / np.log2(1.0 + place))
    return np.where((ranks != MISSED)[:, None], np.stack(columns, axis=1), 0.0)


def measure(ranks: NDArray[np.int64]) -> Metrics:
    """Means over all targets; zeros when there are none."""
    if len(ranks) == 0:
        return Metrics(0.0, 0.0, 0.0)
    return Metrics(*(float(mean) for mean in gains(ranks).mean(axis=0)))


def standard_errors(
    values: NDArray[np.float64], clusters: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 7
) -> NDArray[np.float64]:
    """Bootstrap over clusters: targets of one session rise and fall together.

    Args:
        values: shape (n, m), m columns of per-target values whose means are judged.
        clusters: shape (n,), each target's session.
        resamples: >= 2.
        seed: of the draw; the same input gives the same errors.

    Returns:
        Shape (m,): the standard deviation of the resampled means; zeros when there are no targets.
    """
    if len(values) == 0:
        return np.zeros(values.shape[1])
    _, cluster = np.unique(clusters, return_inverse=True)
    count = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, column, count) for column in values.T], axis=1)
    sizes = np.bincount(cluster, minlength=count).astype(np.float64)
    random = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for resample in range(resamples):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        means[resample] = drawn @ sums / (drawn @ sizes)
    errors: NDArray[np.float64] = means.std(axis=0, ddof=1)
    return errors
