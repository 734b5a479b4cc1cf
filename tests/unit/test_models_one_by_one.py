"""What each model learns, on clicks small enough to work out by hand."""

import numpy as np
import pytest

from feature_store.kinds import Kind
from recommender import quantized, served_blend
from recommender.blend import blend, length_class
from recommender.kernels import compile_all
from recommender.models import knn_kernels, own_session, session_knn, transitions
from recommender.models.ials import IalsParameters, for_catalogue, session_matrix
from recommender.models.item_table import ItemTable
from recommender.models.own_session import OwnSession
from recommender.models.popularity import DAY_MS, HOUR_MS, Popularity
from recommender.models.protocol import Events, Prefix, Scored
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions
from recommender.scan import scan


def clicks(*sessions: tuple[int, ...], time_ms: int = 1_000) -> Events:
    numbers = [number for number, rows in enumerate(sessions) for _ in rows]
    rows = [row for session in sessions for row in session]
    times_ms = time_ms + np.arange(len(rows), dtype=np.int64)
    return Events(np.array(numbers), np.array(rows, np.int32), np.full(len(rows), Kind.VIEW, np.uint8), times_ms)


def prefix(*rows: int, times_ms: tuple[int, ...] | None = None) -> Prefix:
    times = np.zeros(len(rows), np.int64) if times_ms is None else np.array(times_ms, np.int64)
    return Prefix(np.array(rows, np.int32), np.full(len(rows), Kind.VIEW, np.uint8), times)


def test_item_rows_are_dense_and_stay() -> None:
    items = ItemTable(["a", "b"])

    assert [items.add(item_id) for item_id in ("b", "c", "a", "c")] == [1, 2, 0, 2]
    assert list(items.ids) == ["a", "b", "c"]
    assert items.row("z") is None
    assert items.item_id(2) == "c"


def test_popularity_halves_in_its_half_life() -> None:
    model = Popularity(half_life_ms=DAY_MS)
    model.update(0, 0, Kind.VIEW, DAY_MS)

    assert model.popular(DAY_MS)[0] == pytest.approx(1.0)
    assert model.popular(2 * DAY_MS)[0] == pytest.approx(0.5)


def test_popularity_does_not_depend_on_the_order_of_arrival() -> None:
    forwards, backwards = Popularity(), Popularity()
    for at in (1, 5, 9):
        forwards.update(0, 0, Kind.VIEW, at * HOUR_MS)
    for at in (9, 1, 5):
        backwards.update(0, 0, Kind.VIEW, at * HOUR_MS)

    np.testing.assert_allclose(forwards.popular(9 * HOUR_MS), backwards.popular(9 * HOUR_MS))
    np.testing.assert_allclose(forwards.trending(9 * HOUR_MS), backwards.trending(9 * HOUR_MS))


def test_what_rises_trends_above_what_is_always_liked() -> None:
    model = Popularity()
    for hour in range(24 * 14):
        for _ in range(5):
            model.update(0, 0, Kind.VIEW, (hour + 1) * HOUR_MS)
    for _ in range(12):
        model.update(0, 1, Kind.VIEW, 24 * 14 * HOUR_MS)
    now_ms = 24 * 14 * HOUR_MS

    assert model.popular(now_ms).argmax() == 0
    assert model.trending(now_ms).argmax() == 1


def test_transitions_count_near_followers_more() -> None:
    model = Transitions(TransitionParameters(norm=0.0, reverse=0.5))
    model.update_many(clicks((0, 1, 2)))

    found = dict(zip(*(column.tolist() for column in model.scores(prefix(0), 5)), strict=True))

    assert found[1] == pytest.approx(1.0, rel=1e-4)
    assert found[2] == pytest.approx(0.5, rel=1e-4)


def test_transitions_work_backwards_with_less_weight() -> None:
    model = Transitions(TransitionParameters(norm=0.0, reverse=0.5))
    model.update_many(clicks((0, 1)))

    assert model.scores(prefix(1), 5).scores.tolist() == pytest.approx([0.5], rel=1e-4)


def test_transitions_forget_the_lightest_when_full() -> None:
    model = Transitions(TransitionParameters(neighbours_max=2, norm=0.0))
    model.update_many(clicks((0, 1), (0, 1), (0, 2), (0, 3)))

    assert model.scores(prefix(0), 5).rows.tolist() == [1, 3]


def test_a_view_and_a_purchase_of_the_same_item_are_no_transition() -> None:
    model, keeping = Transitions(), Transitions(TransitionParameters(keep_repeats=True))
    for each in (model, keeping):
        each.update_many(clicks((0, 0)))

    assert model.scores(prefix(0), 5).rows.tolist() == []
    assert keeping.scores(prefix(0), 5).rows.tolist() == [0]


def test_neighbouring_sessions_vote_for_what_they_held() -> None:
    model = SessionKnn()
    model.update_many(clicks((0, 1, 2), (0, 1, 3), (5, 6, 7), (8, 9)))

    found = model.scores(prefix(0, 1), 10).rows.tolist()

    assert set(found) == {0, 1, 2, 3}


def test_a_visitors_own_session_does_not_vote_for_itself() -> None:
    model = SessionKnn()
    model.update_many(clicks((0, 1), (2, 3)))

    stranger = model.scores(prefix(2, 3), 5).rows.tolist()
    themselves = model.scores(prefix(2, 3, times_ms=(1_002, 1_003)), 5).rows.tolist()

    assert stranger
    assert themselves == []


def test_sessions_beyond_the_limit_are_forgotten_oldest_first() -> None:
    model = SessionKnn(SessionKnnParameters(sessions_max=2))
    model.update_many(clicks((0, 1), (0, 2), (0, 3)))

    assert set(model.scores(prefix(0), 5).rows.tolist()) == {0, 2, 3}


def test_postings_beyond_the_limit_are_not_followed() -> None:
    model = SessionKnn(SessionKnnParameters(postings_max=2))
    model.update_many(clicks((0, 1), (2, 3)))

    assert model.scores(prefix(0), 5).rows.tolist() == []
    assert set(model.scores(prefix(2), 5).rows.tolist()) == {2, 3}


def test_a_replica_given_sessions_twice_equals_the_learner() -> None:
    learner, replica = SessionKnn(), SessionKnn()
    random = np.random.default_rng(9)
    for batch in range(6):
        rows = random.integers(0, 9, 40).astype(np.int32)
        sessions = np.sort(random.integers(batch * 4, batch * 4 + 8, 40))
        learner.update_many(Events(sessions, rows, np.ones(40, np.uint8), np.arange(40) + 1))
        block = learner.block(np.unique(sessions))
        replica.set_block(block)
        replica.set_block(block)

    np.testing.assert_array_equal(replica._frequencies[:9], learner._frequencies[:9])
    for row in range(9):
        expected, found = learner.scores(prefix(row), 9), replica.scores(prefix(row), 9)
        assert found.rows.tolist() == expected.rows.tolist()


def test_an_item_that_comes_back_into_a_long_session_counts_once() -> None:
    short, long = SessionKnn(SessionKnnParameters(items_max=3)), SessionKnn(SessionKnnParameters(items_max=3))
    short.update_many(clicks((3, 4, 0), (7, 8)))
    long.update_many(clicks((0, 1, 2, 3, 4, 0), (7, 8)))

    expected, found = short.scores(prefix(0), 5), long.scores(prefix(0), 5)

    assert found.rows.tolist() == expected.rows.tolist()
    assert found.scores.tolist() == expected.scores.tolist()


def test_own_session_prefers_the_newest() -> None:
    found = OwnSession().scores(prefix(4, 5, 4, 6), 5)
    with_current = OwnSession(with_current=True).scores(prefix(4, 5, 4, 6), 5)

    assert found.rows.tolist() == [4, 5]
    assert found.scores.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert with_current.rows.tolist() == [6, 4, 5]


def test_a_session_counts_the_largest_weight_it_gave_an_item() -> None:
    events = Events(
        np.array([3, 3, 7]),
        np.array([1, 1, 0], np.int32),
        np.array([Kind.VIEW, Kind.PURCHASE, Kind.REFUND], np.uint8),
        np.arange(3),
    )

    assert session_matrix(events, items=2).toarray().tolist() == [[0.0, 3.0], [0.0, 0.0]]


def test_confidence_grows_with_the_catalogue_between_its_bounds() -> None:
    alphas = [for_catalogue(IalsParameters(), items).alpha for items in (10, 10_000, 1_000_000)]

    assert alphas == [100.0, 500.0, 1000.0]
    assert for_catalogue(IalsParameters(alpha=7.0), 10_000).alpha == 7.0


def test_a_blend_is_the_weighted_sum_of_scaled_lists() -> None:
    lists = [
        Scored(np.array([4, 2], np.int32), np.array([10.0, 5.0], np.float32)),
        Scored(np.array([2, 9], np.int32), np.array([0.2, 0.1], np.float32)),
        Scored(np.empty(0, np.int32), np.empty(0, np.float32)),
    ]

    found = blend(lists, [1.0, 2.0, 5.0], 3)

    assert found.rows.tolist() == [2, 4, 9]
    assert found.scores.tolist() == pytest.approx([2.5, 1.0, 1.0])


def test_session_lengths_have_classes() -> None:
    assert [length_class(events) for events in (0, 1, 2, 3, 4, 5, 8, 9, 100)] == [0, 0, 1, 2, 2, 3, 3, 4, 4]


def test_kernels_are_compiled_once_for_the_types_they_are_used_with() -> None:
    compile_all()

    answers = (session_knn._answer, transitions._answer, own_session._answer, quantized._answer, served_blend.blended)
    for kernel in (scan, knn_kernels.index_events, *answers):
        assert len(kernel.signatures) == 1, kernel
