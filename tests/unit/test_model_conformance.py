"""What every model promises, asked of every model."""

from collections.abc import Callable

import numpy as np
import pytest

from feature_store.kinds import Kind
from recommender.blend import Blend
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.models.ials import Ials, IalsParameters
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model, Prefix, empty_prefix
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions

SMALL = IalsParameters(factors=8, alpha=20.0, regularization=0.1)
VECTORS = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)

MODELS: dict[str, Callable[[], Model]] = {
    "popularity": Popularity,
    "transitions": lambda: Transitions(TransitionParameters(sessions_max=64)),
    "session-knn": lambda: SessionKnn(SessionKnnParameters(sessions_max=64, postings_max=512)),
    "ials": lambda: Ials(SMALL, VECTORS),
    "learning-ials": lambda: LearningIals(SMALL, VECTORS, limits=IncrementalLimits(sessions_max=64)),
    "own-session": OwnSession,
    "blend": lambda: Blend([SessionKnn(SessionKnnParameters(sessions_max=64)), Transitions(), Ials(SMALL, VECTORS)]),
}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


def clicks(count: int = 300, *, items: int = 12, seed: int = 2) -> Events:
    random = np.random.default_rng(seed)
    return Events(
        np.sort(random.integers(0, count // 4, count)),
        random.integers(0, items, count).astype(np.int32),
        random.choice([Kind.VIEW, Kind.ADD_TO_CART, Kind.PURCHASE], count).astype(np.uint8),
        np.arange(1, count + 1) * 1000,
    )


def prefix(*rows: int) -> Prefix:
    return Prefix(np.array(rows, np.int32), np.full(len(rows), Kind.VIEW, np.uint8), np.zeros(len(rows), np.int64))


@models
def test_answers_are_distinct_and_best_first(make: Callable[[], Model]) -> None:
    model = make()
    model.update_many(clicks())

    found = model.scores(prefix(1, 2, 3), 8)

    assert 0 < len(found.rows) <= 8
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert (np.diff(found.scores) <= 0).all()


@models
def test_blocked_rows_are_never_answered(make: Callable[[], Model]) -> None:
    model = make()
    model.update_many(clicks())
    blocked = np.zeros(12, np.bool_)
    blocked[::2] = True

    found = model.scores(prefix(1, 2, 3), 12, blocked)

    assert all(row % 2 for row in found.rows)


@models
def test_one_by_one_is_the_same_as_all_at_once(make: Callable[[], Model]) -> None:
    at_once, one_by_one = make(), make()
    events = clicks()

    at_once.update_many(events)
    for session, row, kind, time_ms in zip(*events, strict=True):
        one_by_one.update(int(session), int(row), int(kind), int(time_ms))

    expected = at_once.scores(prefix(1, 2, 3), 12)
    found = one_by_one.scores(prefix(1, 2, 3), 12)
    assert found.rows.tolist() == expected.rows.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


@models
def test_a_loaded_state_answers_and_learns_on_as_the_original(make: Callable[[], Model]) -> None:
    original, loaded = make(), make()
    original.update_many(clicks())
    more = Events(np.array([90, 90]), np.array([3, 5], np.int32), np.full(2, 1, np.uint8), np.array([400_000, 401_000]))

    loaded.load(original.state())
    original.update_many(more)
    loaded.update_many(more)

    expected = original.scores(prefix(4, 3), 12)
    found = loaded.scores(prefix(4, 3), 12)
    assert set(found.rows.tolist()) == set(expected.rows.tolist())
    # A loaded Gram matrix is summed anew; the last bits of it may move a short solve by this much.
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=5e-3)


@models
def test_input_is_not_modified(make: Callable[[], Model]) -> None:
    model, events, asked = make(), clicks(), prefix(1, 2, 3)
    before = [column.copy() for column in (*events, *asked)]
    for column in (*events, *asked):
        column.flags.writeable = False

    model.update_many(events)
    model.scores(asked, 5)

    for column, kept in zip((*events, *asked), before, strict=True):
        np.testing.assert_array_equal(column, kept)


@models
@pytest.mark.parametrize("asked", [empty_prefix(), prefix(500), prefix(500, 1, 501)], ids=["empty", "unknown", "mixed"])
def test_empty_and_unknown_prefixes_are_answered_without_error(make: Callable[[], Model], asked: Prefix) -> None:
    model = make()
    model.scores(asked, 5)
    model.update_many(clicks())

    found = model.scores(asked, 5)

    assert len(found.rows) <= 5


@models
def test_kinds_without_weight_teach_nothing(make: Callable[[], Model]) -> None:
    model, untouched = make(), make()
    events = clicks()
    model.update_many(events)
    untouched.update_many(events)

    model.update(80, 1, Kind.REFUND, 500_000)
    model.update(80, 2, Kind.REMOVE_FROM_CART, 500_000)

    found, expected = model.scores(prefix(1), 12), untouched.scores(prefix(1), 12)
    assert found.rows.tolist() == expected.rows.tolist()


@models
def test_no_events_change_nothing(make: Callable[[], Model]) -> None:
    model = make()
    none = Events(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))

    model.update_many(none)

    assert model.state().keys() == make().state().keys()
