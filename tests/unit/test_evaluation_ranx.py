"""Our figures are those of an independent library, to 1e-9."""

import numpy as np
import pytest
from ranx import Qrels, Run
from ranx import evaluate as ranx_evaluate

from recommender.evaluation.metrics import gains, ranks_of
from recommender.evaluation.relevance import relevance
from recommender.evaluation.targets import UNKNOWN, Relevant

K = 5
RANDOM = np.random.default_rng(7)
LISTS = [RANDOM.permutation(9)[:K].tolist() for _ in range(300)]
"""Among nine items that training held; wanted are some of twelve, the last three held by nobody."""
WANTED = [set(RANDOM.choice(12, RANDOM.integers(1, 7), replace=False).tolist()) for _ in LISTS]


def relevant_of(wanted: list[set[int]], *, items: int) -> Relevant:
    """Items from `items` on are those that training did not hold."""
    known = [[item for item in sorted(each) if item < items] for each in wanted]
    ends = np.cumsum([len(each) for each in known])
    rows = np.array([item for each in known for item in each], np.int32)
    lengths = np.array([len(each) for each in known])
    return Relevant(rows, ends - lengths, ends, np.array([len(each) for each in wanted]))


def by_ranx(wanted: list[set[int]], *metrics: str) -> dict[str, list[float]]:
    qrels = Qrels({f"q{at:03}": {f"i{item}": 1 for item in each} for at, each in enumerate(wanted)})
    scored = [{f"i{item}": 1.0 - place / 100 for place, item in enumerate(each)} for each in LISTS]
    run = Run({f"q{at:03}": each for at, each in enumerate(scored)})
    ranx_evaluate(qrels, run, [f"{metric}@{K}" for metric in metrics])
    return {metric: [run.scores[f"{metric}@{K}"][f"q{at:03}"] for at in range(len(LISTS))] for metric in metrics}


def test_recall_and_average_precision_of_the_rest_of_a_session() -> None:
    found = relevance(np.array(LISTS, np.int32), relevant_of(WANTED, items=9))

    theirs = by_ranx(WANTED, "recall", "map")
    np.testing.assert_allclose(found.recall, theirs["recall"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.average_precision, theirs["map"], atol=1e-9, rtol=0)


def test_hit_rate_reciprocal_rank_and_gain_of_the_next_item() -> None:
    labels = RANDOM.integers(0, 11, len(LISTS))

    ours = gains(ranks_of(np.array(LISTS, np.int32), labels.astype(np.int32)))

    theirs = by_ranx([{int(label)} for label in labels], "hit_rate", "mrr", "ndcg")
    np.testing.assert_allclose(ours, np.stack(list(theirs.values()), axis=1), atol=1e-9, rtol=0)


def test_places_that_are_filled_up_hit_nothing() -> None:
    lists = np.array([[3, UNKNOWN, UNKNOWN]], np.int32)

    found = relevance(lists, relevant_of([{3, 20}], items=9))

    assert found.recall.tolist() == [0.5]
    assert found.average_precision == pytest.approx([0.5])
