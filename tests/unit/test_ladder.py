"""The rung is chosen from the time left and from what rungs were measured to cost."""

from recommender.ladder import RUNGS, Ladder


def test_takes_the_dearest_rung_that_fits() -> None:
    ladder = Ladder(prior_ms=(4.0, 3.0, 1.0, 0.5, 0.5))

    assert [ladder.choose(left_ms) for left_ms in (4.0, 3.5, 1.5, 0.6)] == [0, 1, 2, 3]


def test_answers_from_the_cheapest_rung_when_no_time_is_left() -> None:
    assert Ladder().choose(-5.0) == len(RUNGS) - 1


def test_starts_no_dearer_than_it_is_told() -> None:
    assert Ladder().choose(200.0, dearest=2) == 2


def test_measurements_take_the_place_of_the_prior() -> None:
    ladder = Ladder(prior_ms=(4.0, 3.0, 1.0, 0.5, 0.5))
    for _ in range(64):
        ladder.record(0, 40.0)

    assert ladder.p99_ms(0) == 40.0
    assert ladder.choose(30.0) == 1
    assert ladder.choose(50.0) == 0


def test_p99_forgets_a_slow_minute_once_newer_answers_fill_the_window() -> None:
    ladder = Ladder()
    for _ in range(64):
        ladder.record(0, 100.0)
    for _ in range(1_024):
        ladder.record(0, 1.0)

    assert ladder.p99_ms(0) == 1.0


def test_a_rung_passed_over_is_tried_again_after_a_while() -> None:
    ladder = Ladder()
    for _ in range(64):
        ladder.record(0, 1_000.0)

    choices = [ladder.choose(200.0) for _ in range(200)]

    assert choices[0] == 1
    assert 0 in choices
