"""Recall and average precision of lists against all that was still to come, not only against the very next item."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.targets import Relevant


class Relevance(NamedTuple):
    """Shape (n,) each: the share of what was to come that the list holds, and its average precision."""

    recall: NDArray[np.float64]
    average_precision: NDArray[np.float64]


def relevance(lists: NDArray[np.int32], relevant: Relevant) -> Relevance:
    """Recall@k and average precision@k per question, both divided by all that was to come.

    Average precision is the sum, over the places of hits, of the share of hits up to there (as in TREC).

    Args:
        lists: shape (n, k), rows best first, none twice, filled up with -1.
        relevant: of the same n questions.
    """
    recall = np.zeros(len(lists))
    precision = np.zeros(len(lists))
    for question, answered in enumerate(lists):
        wanted = relevant.rows[relevant.begins[question] : relevant.ends[question]]
        hits = np.flatnonzero(np.isin(answered, wanted))
        if len(hits):
            recall[question] = len(hits) / relevant.counts[question]
            precision[question] = (np.arange(1, len(hits) + 1) / (hits + 1)).sum() / relevant.counts[question]
    return Relevance(recall, precision)
