"""What lists do to a catalogue: how much of it they show, how well known that is, and how alike a list's items are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recommender.models.ials import session_matrix
from recommender.models.protocol import Events

_LISTS_AT_ONCE = 2_000

Lists = NDArray[np.int32]


class CatalogueMetrics(NamedTuple):
    """One set of figures.

    Attributes:
        coverage: the share of the catalogue that is in any list.
        gini: how unequally the places are shared out among the items, 0 (alike) to 1 (all to one item).
        novelty: shape (n,), per list the mean surprise of its items in bits, `-log2` of their share of the events.
        diversity: shape (n,), per list 1 - the mean cosine of its pairs' sessions; 1 where no session had two of them.
        popularity_bias: shape (n,), how much better known than what was asked for a list is, as a difference of
            percentiles of popularity: 0 like the visitors' own choices, above 0 it pushes bestsellers.
    """

    coverage: float
    gini: float
    novelty: NDArray[np.float64]
    diversity: NDArray[np.float64]
    popularity_bias: NDArray[np.float64]


def catalogue_metrics(lists: Lists, labels: NDArray[np.int32], events: Events, *, items: int) -> CatalogueMetrics:
    """Args:
    lists: shape (n, k), rows best first, filled up with -1.
    labels: shape (n,), what was asked for, -1 when unknown (such a list's bias is 0).
    events: of training.
    items: how many rows there are, >= 1.
    """
    counts = np.bincount(events.rows, minlength=items).astype(np.float64)
    shown = np.bincount(lists[lists >= 0], minlength=items)
    surprise = -np.log2(np.maximum(counts, 1.0) / max(1.0, counts.sum()))
    percentile = _percentiles(counts)
    bias = _means(percentile, lists) - percentile[np.maximum(labels, 0)]
    return CatalogueMetrics(
        coverage=float((shown > 0).mean()),
        gini=gini(shown),
        novelty=_means(surprise, lists),
        diversity=1.0 - _likeness(lists, session_cosines(events, items=items)),
        popularity_bias=np.where(labels >= 0, bias, 0.0),
    )


def gini(shown: NDArray[np.int64]) -> float:
    """The Gini coefficient of how often each item was shown; 0 when nothing was."""
    total, count = shown.sum(), len(shown)
    if total == 0:
        return 0.0
    place = np.arange(1, count + 1)
    return float(2.0 * (place @ np.sort(shown)) / (count * total) - (count + 1) / count)


def session_cosines(events: Events, *, items: int) -> csr_matrix:
    """Shape (items, items): the cosine of two items' sets of sessions; the diagonal is 1 where an item has any."""
    matrix = session_matrix(events, items=items)
    matrix.data[:] = 1.0
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    columns = matrix.tocsc()
    columns.data /= np.repeat(norms, np.diff(columns.indptr))
    return csr_matrix(columns.T @ columns)


def _percentiles(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for the least known, 1 for the best known; equals share the middle of their places."""
    order = np.sort(counts)
    middle = (np.searchsorted(order, counts, side="left") + np.searchsorted(order, counts, side="right") - 1) / 2.0
    share: NDArray[np.float64] = middle / max(1, len(counts) - 1)
    return share


def _means(values: NDArray[np.float64], lists: Lists) -> NDArray[np.float64]:
    there = lists >= 0
    sums = np.where(there, values[np.maximum(lists, 0)], 0.0).sum(axis=1)
    means: NDArray[np.float64] = sums / np.maximum(1, there.sum(axis=1))
    return means


def _likeness(lists: Lists, cosines: csr_matrix) -> NDArray[np.float64]:
    """Per list the mean over its pairs; 0 for a list of one."""
    likeness = np.zeros(len(lists))
    left, right = np.triu_indices(lists.shape[1], k=1)
    for begin in range(0, len(lists), _LISTS_AT_ONCE):
        part = lists[begin : begin + _LISTS_AT_ONCE]
        there = (part[:, left] >= 0) & (part[:, right] >= 0)
        found = cosines[part[:, left][there], part[:, right][there]]
        sums = np.zeros(there.shape)
        sums[there] = np.asarray(found).ravel()
        likeness[begin : begin + len(part)] = sums.sum(axis=1) / np.maximum(1, there.sum(axis=1))
    return likeness
