"""Room and time for an answer."""

import time

import pytest

from api.budget import Admission, Deadline
from api.errors import OverloadedError


def test_one_too_many_is_refused_and_the_next_one_is_not() -> None:
    admission = Admission(in_flight_max=2, retry_after_s=3)

    with admission, admission:
        with pytest.raises(OverloadedError) as refused, admission:
            raise AssertionError("it was let in")
        assert admission.in_flight == 2
    with admission:
        assert admission.in_flight == 1

    assert refused.value.retry_after_s == 3


def test_a_failing_answer_gives_its_place_back() -> None:
    admission = Admission(in_flight_max=1, retry_after_s=1)

    with pytest.raises(ValueError, match="ranking broke"), admission:
        raise ValueError("ranking broke")

    assert admission.in_flight == 0


def test_a_wait_before_the_first_step_counts() -> None:
    deadline = Deadline(time.perf_counter() - 90, budget_ms=100_000)

    assert 0 < deadline.left_ms() <= 10_000
    assert deadline.took_ms() >= 90_000
