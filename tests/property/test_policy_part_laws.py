"""The parts of the policy, each against what it promises for any input."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.diversity import diversified
from recommender.new_items import Draws, slot_chance, weights_of, with_new_items
from recommender.page_views import PageViews

scores = st.lists(st.floats(0, 10, width=32), min_size=1, max_size=30).map(lambda found: sorted(found, reverse=True))


@settings(max_examples=200, deadline=None)
@given(scores, st.data(), st.integers(0, 30), st.floats(0, 1))
def test_diversity_shares_out_candidates_each_once(
    scores: list[float], data: st.DataObject, n: int, diversity: float
) -> None:
    categories = data.draw(st.lists(st.integers(-1, 4), min_size=len(scores), max_size=len(scores)))

    order = diversified(np.array(scores, np.float32), np.array(categories, np.int32), n, diversity=diversity)

    assert len(order) == min(n, len(scores))
    assert len(set(order.tolist())) == len(order)


@settings(max_examples=200, deadline=None)
@given(scores, st.data())
def test_no_diversity_is_the_order_by_score_and_all_of_it_takes_turns(scores: list[float], data: st.DataObject) -> None:
    categories = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(scores), max_size=len(scores))), np.int32)
    values = np.array(scores, np.float32)

    plain = diversified(values, categories, len(scores), diversity=0.0)
    turns = diversified(values, categories, len(scores), diversity=1.0)

    assert plain.tolist() == list(range(len(scores)))
    distinct = len(set(categories.tolist()))
    assert len(set(categories[turns[:distinct]].tolist())) == distinct


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(0, 30), st.floats(0, 0.5))
def test_the_share_is_kept_while_there_are_slots(n: int, open_slots: int, share: float) -> None:
    chance = slot_chance(n, open_slots, share=share)

    assert 0.0 <= chance <= 1.0
    if open_slots and share * n <= open_slots:
        np.testing.assert_allclose(chance * open_slots, share * n, atol=1e-12)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))),
    st.lists(st.floats(0.01, 10), max_size=6),
    st.floats(0, 1),
    st.integers(0, 2**64 - 1),
)
def test_draws_change_open_slots_alone_and_repeat_nothing(
    slots: tuple[int, set[int]], weights: list[float], chance: float, seed: int
) -> None:
    n, open_slots = slots
    ids = [f"old-{slot}" for slot in range(n)]
    new = [f"new-{number}" for number in range(len(weights))]

    found = with_new_items(ids, sorted(open_slots), lambda: (new, np.array(weights)), chance=chance, seed=seed)

    assert found == with_new_items(ids, sorted(open_slots), lambda: (new, np.array(weights)), chance=chance, seed=seed)
    assert len(set(found.item_ids)) == n
    for slot, (item_id, propensity) in enumerate(zip(*found, strict=True)):
        if slot not in open_slots:
            assert (item_id, propensity) == (ids[slot], None)
        else:
            assert propensity is None or 0.0 < propensity <= 1.0
            assert item_id in (ids[slot], *new)


def test_propensities_are_what_happens() -> None:
    ids, weights = ["a", "b", "c", "d"], weights_of([0.0, 1.0, 3.0])
    drawn: Counter[tuple[int, str]] = Counter()
    told: dict[tuple[int, str], list[float]] = {}
    for seed in range(20_000):
        found = with_new_items(ids, [2, 3], lambda: (["x", "y", "z"], weights), chance=0.3, seed=seed * 7919)
        for slot in (2, 3):
            propensity = found.propensities[slot]
            assert propensity is not None
            drawn[slot, found.item_ids[slot]] += 1
            told.setdefault((slot, found.item_ids[slot]), []).append(propensity)

    # In the first open slot no draw lies above: an item is there as often as it was told.
    for item_id in ("c", "x", "y", "z"):
        assert abs(drawn[2, item_id] / 20_000 - told[2, item_id][0]) < 0.01
    # Weighed by the inverse, every item of every slot counts one answer each.
    for place, propensities in told.items():
        weighed = sum(1.0 / propensity for propensity in propensities) / 20_000
        # Slot 3 cannot show what slot 2 took.
        possible = 1.0 if place[1] in ("c", "d") or place[0] == 2 else 1.0 - drawn[2, place[1]] / 20_000
        assert abs(weighed - possible) < 0.1, place


def test_uniform_draws_are_uniform() -> None:
    draws = Draws(1)

    found = np.array([draws.next() for _ in range(20_000)])

    assert 0.0 <= found.min() < 0.001
    assert 0.999 < found.max() < 1.0
    assert abs(found.mean() - 0.5) < 0.01


steps = st.lists(
    st.tuples(st.sampled_from("vw"), st.sampled_from("pq"), st.sampled_from("xyz"), st.integers(0, 300)), max_size=30
)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(1, 4))
def test_a_page_shows_no_item_twice_and_memory_is_bounded(
    steps: list[tuple[str, str, str, int]], pages_max: int
) -> None:
    pages, now_ms = PageViews(pages_max=pages_max, ms_max=1_000), 0
    for number, (visitor, page, placement, later_ms) in enumerate(steps):
        now_ms += later_ms
        before = pages.shown_elsewhere(visitor, page, placement, now_ms)
        item = next(name for name in (f"i{number % 3}", "i4", "i5", "i6") if name not in before)

        pages.show(visitor, page, placement, (item,), now_ms)

        assert item not in pages.shown_elsewhere(visitor, page, placement, now_ms)
        others = set("xyz") - {placement}
        assert all(item in pages.shown_elsewhere(visitor, page, other, now_ms) for other in others)
        assert len(pages) <= pages_max


def test_an_old_page_is_forgotten() -> None:
    pages = PageViews(pages_max=4, ms_max=1_000)
    pages.show("v", "p", "x", ("i",), 0)

    assert pages.shown_elsewhere("v", "p", "y", 1_000) == {"i"}
    assert pages.shown_elsewhere("v", "p", "y", 1_001) == frozenset()
