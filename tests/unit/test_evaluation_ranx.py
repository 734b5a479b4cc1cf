"""Our figures are those of an independent library, to 1e-9."""

import importlib

import numpy as np
import pytest

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


def by_ranx(wanted: list[set[int]], module: str, metric: str) -> list[float]:
    """Ranx's own definition, list by list, as the Python it is written in: compiled for many cores it takes minutes."""
    definition = getattr(importlib.import_module(f"ranx.metrics.{module}"), metric).py_func
    found = []
    for answered, each in zip(LISTS, wanted, strict=True):
        qrels = np.array([[item, 1.0] for item in sorted(each)])
        run = np.array([[item, 1.0 - place / 100] for place, item in enumerate(answered)])
        found.append(definition(qrels, run, K, 1, *((True,) if module == "ndcg" else ())))
    return found


def test_recall_and_average_precision_of_the_rest_of_a_session() -> None:
    found = relevance(np.array(LISTS, np.int32), relevant_of(WANTED, items=9))

    recall, precision = by_ranx(WANTED, "recall", "_recall"), by_ranx(WANTED, "average_precision", "_average_precision")
    np.testing.assert_allclose(found.recall, recall, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.average_precision, precision, atol=1e-9, rtol=0)


def test_hit_rate_reciprocal_rank_and_gain_of_the_next_item() -> None:
    labels = RANDOM.integers(0, 11, len(LISTS))

    ours = gains(ranks_of(np.array(LISTS, np.int32), labels.astype(np.int32)))

    wanted = [{int(label)} for label in labels]
    for column, (module, metric) in enumerate(
        (("hit_rate", "_hit_rate"), ("reciprocal_rank", "_reciprocal_rank"), ("ndcg", "_ndcg"))
    ):
        np.testing.assert_allclose(ours[:, column], by_ranx(wanted, module, metric), atol=1e-9, rtol=0)


def test_places_that_are_filled_up_hit_nothing() -> None:
    lists = np.array([[3, UNKNOWN, UNKNOWN]], np.int32)

    found = relevance(lists, relevant_of([{3, 20}], items=9))

    assert found.recall.tolist() == [0.5]
    assert found.average_precision == pytest.approx([0.5])
