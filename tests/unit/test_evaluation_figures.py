"""What a catalogue sees of the lists, small enough to count by hand, and what two models' difference is worth."""

import numpy as np
import pytest

from recommender.evaluation.catalogue_metrics import catalogue_metrics, gini
from recommender.evaluation.comparison import paired_difference
from recommender.models.protocol import Events


def _events(*sessions: tuple[int, ...]) -> Events:
    numbers = np.array([number for number, rows in enumerate(sessions) for _ in rows], np.int64)
    rows = np.array([row for each in sessions for row in each], np.int32)
    return Events(numbers, rows, np.ones(len(rows), np.uint8), np.arange(1, len(rows) + 1))


# Item 0 in four of eight events, 1 in two, 2 and 3 in one each.
EVENTS = _events((0, 1), (0, 1), (0, 2), (0,), (3,))


def test_surprise_is_counted_in_bits() -> None:
    found = catalogue_metrics(np.array([[0, 1], [2, 3]], np.int32), np.array([0, 0]), EVENTS, items=4)

    assert found.novelty.tolist() == [1.5, 3.0]
    assert found.coverage == 1.0


def test_a_list_of_things_seen_together_is_not_diverse() -> None:
    lists = np.array([[0, 1], [1, 3], [3, -1]], np.int32)

    found = catalogue_metrics(lists, np.array([0, 0, 0]), EVENTS, items=4)

    assert found.diversity == pytest.approx([1.0 - 2 / np.sqrt(4 * 2), 1.0, 1.0])


def test_a_bestseller_where_something_rare_was_asked_for_is_a_bias() -> None:
    lists = np.array([[0, -1], [3, -1], [0, -1]], np.int32)

    found = catalogue_metrics(lists, np.array([3, 0, -1]), EVENTS, items=4)

    assert found.popularity_bias[0] > 0
    assert found.popularity_bias[1] == -found.popularity_bias[0]
    assert found.popularity_bias[2] == 0


def test_places_are_shared_out_alike_or_not() -> None:
    assert gini(np.array([3, 3, 3, 3])) == pytest.approx(0.0)
    assert gini(np.array([0, 0, 0, 12])) == pytest.approx(0.75)
    assert gini(np.zeros(4, np.int64)) == 0.0


def test_a_real_gain_is_told_from_none() -> None:
    random = np.random.default_rng(0)
    first = (random.random(2_000) < 0.3).astype(float)
    second = np.maximum(first, random.random(2_000) < 0.05)
    clusters = np.arange(2_000) // 4

    better = paired_difference(first, second, clusters)
    same = paired_difference(first, first, clusters)

    assert better.gain == pytest.approx((second - first).mean())
    assert 0 < better.low < better.gain < better.high
    assert better.p_value < 0.01
    assert (same.gain, same.p_value) == (0.0, 1.0)


def test_its_interval_covers_no_difference_as_often_as_it_says() -> None:
    # 100 pairs of equally good models, whose targets hang together in sessions of five.
    random = np.random.default_rng(1)
    covered = 0
    for run in range(100):
        sessions = random.normal(size=(60, 1)) + random.normal(size=(60, 5))
        other = random.normal(size=(60, 1)) + random.normal(size=(60, 5))
        found = paired_difference(sessions.ravel(), other.ravel(), np.repeat(np.arange(60), 5), resamples=300, seed=run)
        covered += found.low <= 0.0 <= found.high
    assert 88 <= covered <= 99


def test_nothing_compared_is_no_difference() -> None:
    assert paired_difference(np.empty(0), np.empty(0), np.empty(0, np.int64)).p_value == 1.0
