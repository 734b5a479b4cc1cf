"""What chance may move, and that it knows how likely each place was."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.requests import RecommendRequest
from recommender.slot_exploration import Drawn, Shuffle, draw_order, draw_slots, slot_chances

ALWAYS = Shuffle(share=1.0, slots=4, temperature=2.0)


def _draw(n: int, now_ms: int = 1, *, fixed: tuple[int, ...] = (), shuffle: Shuffle = ALWAYS) -> Drawn | None:
    return draw_slots(RecommendRequest("v", n=n), now_ms, n=n, fixed=fixed, shuffle=shuffle)


@given(st.integers(4, 30), st.integers(0, 10**12), st.integers(2, 8), st.sets(st.integers(0, 29), max_size=3))
def test_only_the_last_free_slots_move_and_nothing_is_lost(n: int, now_ms: int, slots: int, fixed: set[int]) -> None:
    drawn = _draw(n, now_ms, fixed=tuple(fixed), shuffle=ALWAYS._replace(slots=slots))

    free = [slot for slot in range(n // 2, n) if slot not in fixed][-min(slots, n // 2) :]
    if len(free) < 2:
        assert drawn is None
        return
    assert drawn is not None
    assert list(drawn.exploration.slots) == free
    assert sorted(drawn.places) == list(range(n))
    chances = slot_chances(len(free), 2.0)
    for place, (slot, rank) in enumerate(zip(free, drawn.exploration.ranks, strict=True)):
        assert drawn.places[slot] == free[rank]
        assert drawn.propensities[slot] == chances[rank, place]
    for slot in set(range(n)) - set(free):
        assert (drawn.places[slot], drawn.propensities[slot]) == (slot, None)


def test_the_same_request_at_the_same_time_is_answered_alike_and_later_perhaps_not() -> None:
    answers = {now_ms: _draw(10, now_ms) for now_ms in range(50)}

    assert all(_draw(10, now_ms) == drawn for now_ms, drawn in answers.items())
    assert len({drawn.exploration.ranks for drawn in answers.values() if drawn is not None}) > 5


def test_as_many_answers_as_the_setting_says_are_left_to_chance() -> None:
    explored = sum(_draw(10, now_ms, shuffle=ALWAYS._replace(share=0.05)) is not None for now_ms in range(10_000))

    assert 430 < explored < 570


@pytest.mark.parametrize(
    ("n", "shuffle"), [(3, ALWAYS), (10, ALWAYS._replace(share=0.0)), (10, ALWAYS._replace(slots=1))]
)
def test_short_answers_and_a_switched_off_chance_are_left_alone(n: int, shuffle: Shuffle) -> None:
    assert _draw(n, shuffle=shuffle) is None


@given(st.integers(2, 8), st.floats(0.2, 20.0))
def test_every_item_stands_somewhere_and_every_slot_is_filled(slots: int, temperature: float) -> None:
    chances = slot_chances(slots, temperature)

    np.testing.assert_allclose(chances.sum(axis=0), 1.0)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    assert (chances > 0).all()


def test_the_chances_are_those_of_the_draws() -> None:
    chance = random.Random(7)
    drawn = Counter((rank, slot) for _ in range(20_000) for slot, rank in enumerate(draw_order(4, 2.0, chance)))

    found = np.array([[drawn[rank, slot] / 20_000 for slot in range(4)] for rank in range(4)])

    np.testing.assert_allclose(found, slot_chances(4, 2.0), atol=0.012)
