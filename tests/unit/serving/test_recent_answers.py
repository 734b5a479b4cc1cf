"""Percentiles of the last minute."""

import math

import pytest

from api.metrics import ANSWERS, REQUEST_SECONDS
from api.recent import RecentAnswers, quantile_ms
from api.routes.recommendations import PATH


def test_a_quantile_lies_within_its_bucket() -> None:
    buckets = {0.001: 50.0, 0.010: 90.0, 0.100: 100.0, math.inf: 100.0}

    assert quantile_ms(buckets, 0.5) == pytest.approx(1.0)
    assert quantile_ms(buckets, 0.7) == pytest.approx(5.5)
    assert quantile_ms(buckets, 0.99) == pytest.approx(91.0)


def test_beyond_the_last_bound_it_is_that_bound() -> None:
    assert quantile_ms({0.5: 1.0, math.inf: 10.0}, 0.99) == 500.0


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile_ms({}, 0.5) is None
    assert quantile_ms({0.001: 0.0, math.inf: 0.0}, 0.5) is None


def test_only_what_came_since_the_beginning_counts() -> None:
    REQUEST_SECONDS.labels(PATH).observe(0.9)
    recent = RecentAnswers()

    for _ in range(10):
        REQUEST_SECONDS.labels(PATH).observe(0.004)
        ANSWERS.labels("trending", "").inc()
    found = recent.read()

    assert found.times.answers == 10
    assert found.served_by["trending"] == 10
    assert found.times.p99_ms is not None
    assert 3 <= found.times.p99_ms <= 5
