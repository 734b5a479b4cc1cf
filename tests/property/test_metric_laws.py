"""The metrics equal a plain reading of their definitions, and their errors know what a session is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.evaluation.metrics import gains, measure, ranks_of, standard_errors


def plain_metrics(lists: list[list[int]], labels: list[int]) -> tuple[float, float, float]:
    hr = mrr = ndcg = 0.0
    for answered, label in zip(lists, labels, strict=True):
        if label >= 0 and label in answered:
            rank = answered.index(label) + 1
            hr, mrr, ndcg = hr + 1, mrr + 1 / rank, ndcg + 1 / math.log2(1 + rank)
    return hr / len(labels), mrr / len(labels), ndcg / len(labels)


LISTS = st.lists(st.permutations(range(8)).map(lambda items: list(items)[:5]), min_size=1, max_size=30)


@given(LISTS, st.data())
def test_metrics_equal_their_definitions(lists: list[list[int]], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(-1, 9), min_size=len(lists), max_size=len(lists)))

    measured = measure(ranks_of(np.array(lists, np.int32), np.array(labels, np.int32)))

    assert measured == pytest.approx(plain_metrics(lists, labels), abs=1e-12)


def test_an_unknown_label_is_a_miss_even_where_a_list_is_filled_up() -> None:
    lists = np.array([[3, -1, -1]], np.int32)

    assert ranks_of(lists, np.array([-1], np.int32)).tolist() == [0]


def test_targets_of_one_session_are_not_taken_for_independent() -> None:
    # A hundred sessions of ten equal targets say as much as a hundred targets, not as a thousand.
    hits = np.repeat(np.arange(100) % 2, 10).astype(np.float64)[:, None]

    by_session = standard_errors(hits, np.repeat(np.arange(100), 10))[0]
    by_target = standard_errors(hits, np.arange(1000))[0]

    assert by_session == pytest.approx(0.05, rel=0.15)
    assert by_target == pytest.approx(0.05 / math.sqrt(10), rel=0.15)


@given(LISTS)
def test_errors_are_the_same_for_the_same_input(lists: list[list[int]]) -> None:
    values = gains(ranks_of(np.array(lists, np.int32), np.zeros(len(lists), np.int32)))
    clusters = np.arange(len(lists)) // 2

    once = standard_errors(values, clusters, resamples=20)
    again = standard_errors(values, clusters, resamples=20)
    np.testing.assert_array_equal(once, again)


def test_nothing_measured_is_nothing() -> None:
    assert measure(np.empty(0, np.int64)) == (0.0, 0.0, 0.0)
    assert standard_errors(np.empty((0, 3)), np.empty(0, np.int64)).tolist() == [0.0, 0.0, 0.0]
