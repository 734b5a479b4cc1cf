"""What lists are worth, target by target: every figure of a report as an array, for errors and tests."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.catalogue_metrics import catalogue_metrics
from recommender.evaluation.metrics import gains, ranks_of, standard_errors
from recommender.evaluation.relevance import relevance
from recommender.evaluation.targets import Targets
from recommender.models.protocol import Events


class Outcome(NamedTuple):
    """One model's lists, judged.

    Attributes:
        values: per figure (`hr@20`) shape (n,), what each target adds; its mean is the figure.
        clusters: shape (n,), each target's session.
        ranks: shape (n,), the label's place, 0 where it was missed.
        coverage, gini: of all lists together.
    """

    values: Mapping[str, NDArray[np.float64]]
    clusters: NDArray[np.int64]
    ranks: NDArray[np.int64]
    coverage: float
    gini: float

    def figures(self) -> dict[str, float]:
        """The means."""
        return {name: float(values.mean()) if len(values) else 0.0 for name, values in self.values.items()}

    def standard_errors(self) -> dict[str, float]:
        """By bootstrap over sessions."""
        errors = standard_errors(np.stack(list(self.values.values()), axis=1), self.clusters)
        return dict(zip(self.values, (float(error) for error in errors), strict=True))


def outcome_of(lists: NDArray[np.int32], targets: Targets, events: Events, *, items: int) -> Outcome:
    """Judge `lists`, shape (n, k), best first and filled up with -1, against `targets` after training on `events`."""
    k = lists.shape[1]
    ranks = ranks_of(lists, targets.labels)
    gained = gains(ranks)
    come = relevance(lists, targets.relevant)
    catalogue = catalogue_metrics(lists, targets.labels, events, items=items)
    values = {
        "hr": gained[:, 0],
        "mrr": gained[:, 1],
        "ndcg": gained[:, 2],
        "recall": come.recall,
        "map": come.average_precision,
        "novelty": catalogue.novelty,
        "diversity": catalogue.diversity,
        "popularity_bias": catalogue.popularity_bias,
    }
    named = {f"{name}@{k}": column for name, column in values.items()}
    return Outcome(named, targets.clusters, ranks, catalogue.coverage, catalogue.gini)
