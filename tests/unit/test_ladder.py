"""The rung is chosen from the time left, from what rungs were measured to cost, and from how many wait."""

from recommender.ladder import BLEND, NEIGHBOURS, POPULAR, RANKER, RUNGS, TRENDING, Ladder

_PRIOR_MS = (4.0, 3.0, 1.0, 0.5, 0.5)


def test_takes_the_dearest_rung_that_fits() -> None:
    ladder = Ladder(prior_ms=_PRIOR_MS)

    chosen = [ladder.choose(left_ms) for left_ms in (4.0, 3.5, 1.5, 0.6)]

    assert chosen == [(RANKER, None), (BLEND, "budget"), (NEIGHBOURS, "budget"), (TRENDING, "budget")]


def test_answers_from_the_cheapest_rung_when_no_time_is_left() -> None:
    assert Ladder().choose(-5.0).rung == len(RUNGS) - 1


def test_starts_no_dearer_than_it_is_told() -> None:
    assert Ladder().choose(200.0, dearest=NEIGHBOURS) == (NEIGHBOURS, None)


def test_measurements_take_the_place_of_the_prior() -> None:
    ladder = Ladder(prior_ms=_PRIOR_MS)
    for _ in range(64):
        ladder.record(RANKER, 40.0)

    assert ladder.p99_ms(RANKER) == 40.0
    assert ladder.choose(30.0).rung == BLEND
    assert ladder.choose(50.0).rung == RANKER


def test_p99_forgets_a_slow_minute_once_newer_answers_fill_the_window() -> None:
    ladder = Ladder()
    for _ in range(64):
        ladder.record(RANKER, 100.0)
    for _ in range(1_024):
        ladder.record(RANKER, 1.0)

    assert ladder.p99_ms(RANKER) == 1.0


def test_a_rung_passed_over_is_tried_again_after_a_while() -> None:
    ladder = Ladder()
    for _ in range(64):
        ladder.record(RANKER, 1_000.0)

    choices = [ladder.choose(200.0).rung for _ in range(200)]

    assert choices[0] == BLEND
    assert RANKER in choices


def _measured(crowd_ms: float) -> Ladder:
    ladder = Ladder(crowd_ms=crowd_ms)
    for rung, took_ms in enumerate((1.0, 0.5, 0.2, 0.2, 0.2)):
        for _ in range(32):
            ladder.record(rung, took_ms)
    return ladder


def test_a_crowd_is_answered_by_lists_that_are_done_with_all_of_it_in_time() -> None:
    ladder = _measured(8.0)

    chosen = [ladder.choose(200.0, waiting=waiting) for waiting in (1, 8, 9, 16, 17)]

    assert chosen == [(RANKER, None), (RANKER, None), (BLEND, "load"), (BLEND, "load"), (NEIGHBOURS, "load")]


def test_no_crowd_takes_a_visitors_own_lists_away() -> None:
    assert _measured(8.0).choose(200.0, waiting=1_000) == (NEIGHBOURS, "load")
    assert _measured(8.0).choose(0.1, waiting=1_000) == (POPULAR, "budget")


def test_who_waits_alone_measures_a_rung_that_was_slow() -> None:
    ladder = Ladder(crowd_ms=8.0)
    for _ in range(32):
        ladder.record(RANKER, 50.0)

    assert ladder.choose(200.0, waiting=2) == (BLEND, "load")
    assert ladder.choose(200.0, waiting=1) == (RANKER, None)
