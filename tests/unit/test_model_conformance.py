"""What every model promises, asked of every model."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.blend import Blend
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.models.bought_together import BoughtTogether, BoughtTogetherParameters
from recommender.models.buy_again import BuyAgain, BuyAgainParameters
from recommender.models.content import Content, ContentParameters
from recommender.models.ials import Ials, IalsParameters
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model, Prefix, empty_prefix
from recommender.models.recently_viewed import RecentlyViewed
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions
from recommender.models.trends import Trends
from recommender.ranker import RankedModels, Ranker
from recommender.ranker.trees import default_trees

SMALL = IalsParameters(factors=8, alpha=20.0, regularization=0.1)
VECTORS = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)


def described() -> Content:
    """Items of three kinds; four of each are alike to the last word."""
    model = Content(ContentParameters(buckets=256))
    for row in range(12):
        kind = ("lamp", "chair", "table")[row % 3]
        model.describe(row, Product(f"{row}", title=f"a {kind}", category=f"Home > {kind}", price=10.0 + row % 3))
    return model


def blended() -> Blend:
    knn = SessionKnn(SessionKnnParameters(sessions_max=64, postings_max=512))
    return Blend([knn, Transitions(TransitionParameters(sessions_max=64)), Ials(SMALL, VECTORS)])


MODELS: dict[str, Callable[[], Model]] = {
    "popularity": Popularity,
    "trends": Trends,
    "transitions": lambda: Transitions(TransitionParameters(sessions_max=64)),
    "session-knn": lambda: SessionKnn(SessionKnnParameters(sessions_max=64, postings_max=512)),
    "ials": lambda: Ials(SMALL, VECTORS),
    "learning-ials": lambda: LearningIals(SMALL, VECTORS, limits=IncrementalLimits(sessions_max=64)),
    "own-session": OwnSession,
    "recently-viewed": RecentlyViewed,
    "bought-together": lambda: BoughtTogether(BoughtTogetherParameters(baskets_max=64)),
    "buy-again": lambda: BuyAgain(BuyAgainParameters(buyers_max=64, gap_ms_min=1)),
    "content": described,
    "blend": blended,
    "ranker": lambda: Ranker(
        RankedModels(
            Popularity(),
            SessionKnn(SessionKnnParameters(sessions_max=64, postings_max=512)),
            Transitions(TransitionParameters(sessions_max=64)),
            Ials(SMALL, VECTORS),
            OwnSession(),
        ),
        default_trees(),
    ),
}


class Case(NamedTuple):
    """A model, and what a visitor must have done for it to have a say."""

    make: Callable[[], Model]
    kind: Kind

    def prefix(self, *rows: int) -> Prefix:
        times_ms = np.arange(len(rows), dtype=np.int64)
        return Prefix(np.array(rows, np.int32), np.full(len(rows), self.kind, np.uint8), times_ms)


CASES = {name: Case(make, Kind.PURCHASE if name == "buy-again" else Kind.VIEW) for name, make in MODELS.items()}
models = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def clicks(count: int = 300, *, items: int = 12, seed: int = 2) -> Events:
    random = np.random.default_rng(seed)
    return Events(
        np.sort(random.integers(0, count // 4, count)),
        random.integers(0, items, count).astype(np.int32),
        random.choice([Kind.VIEW, Kind.ADD_TO_CART, Kind.PURCHASE], count).astype(np.uint8),
        np.arange(1, count + 1) * 1000,
    )


@models
def test_answers_are_distinct_and_best_first(case: Case) -> None:
    model = case.make()
    model.update_many(clicks())

    found = model.scores(case.prefix(1, 2, 3), 8)

    assert 0 < len(found.rows) <= 8
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert (np.diff(found.scores) <= 0).all()


@models
def test_blocked_rows_are_never_answered(case: Case) -> None:
    model = case.make()
    model.update_many(clicks())
    blocked = np.zeros(12, np.bool_)
    blocked[::2] = True

    found = model.scores(case.prefix(1, 2, 3), 12, blocked)

    assert all(row % 2 for row in found.rows)


@models
def test_one_by_one_is_the_same_as_all_at_once(case: Case) -> None:
    at_once, one_by_one = case.make(), case.make()
    events = clicks()

    at_once.update_many(events)
    for session, row, kind, time_ms in zip(*events, strict=True):
        one_by_one.update(int(session), int(row), int(kind), int(time_ms))

    expected = at_once.scores(case.prefix(1, 2, 3), 12)
    found = one_by_one.scores(case.prefix(1, 2, 3), 12)
    assert found.rows.tolist() == expected.rows.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


@models
def test_a_loaded_state_answers_and_learns_on_as_the_original(case: Case) -> None:
    original, loaded = case.make(), case.make()
    original.update_many(clicks())
    more = Events(np.array([90, 90]), np.array([3, 5], np.int32), np.full(2, 1, np.uint8), np.array([400_000, 401_000]))

    loaded.load(original.state())
    original.update_many(more)
    loaded.update_many(more)

    expected = original.scores(case.prefix(4, 3), 12)
    found = loaded.scores(case.prefix(4, 3), 12)
    assert set(found.rows.tolist()) == set(expected.rows.tolist())
    # A loaded Gram matrix is summed anew; the last bits of it may move a short solve by this much.
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=5e-3)


@models
def test_input_is_not_modified(case: Case) -> None:
    model, events, asked = case.make(), clicks(), case.prefix(1, 2, 3)
    before = [column.copy() for column in (*events, *asked)]
    for column in (*events, *asked):
        column.flags.writeable = False

    model.update_many(events)
    model.scores(asked, 5)

    for column, kept in zip((*events, *asked), before, strict=True):
        np.testing.assert_array_equal(column, kept)


@models
@pytest.mark.parametrize("rows", [(), (500,), (500, 1, 501)], ids=["empty", "unknown", "mixed"])
def test_empty_and_unknown_prefixes_are_answered_without_error(case: Case, rows: tuple[int, ...]) -> None:
    model, asked = case.make(), case.prefix(*rows) if rows else empty_prefix()
    model.scores(asked, 5)
    model.update_many(clicks())

    found = model.scores(asked, 5)

    assert len(found.rows) <= 5


@models
def test_kinds_without_weight_teach_nothing(case: Case) -> None:
    model, untouched = case.make(), case.make()
    events = clicks()
    model.update_many(events)
    untouched.update_many(events)

    model.update(80, 1, Kind.REFUND, 500_000)
    model.update(80, 2, Kind.REMOVE_FROM_CART, 500_000)

    found, expected = model.scores(case.prefix(1), 12), untouched.scores(case.prefix(1), 12)
    assert found.rows.tolist() == expected.rows.tolist()


@models
def test_no_events_change_nothing(case: Case) -> None:
    model = case.make()
    none = Events(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))

    model.update_many(none)

    assert model.state().keys() == case.make().state().keys()


@models
def test_a_new_id_has_room_from_its_first_event_on(case: Case) -> None:
    model = case.make()
    model.update_many(clicks())

    model.update(90, 40, Kind.VIEW, 500_000)
    found = model.scores(case.prefix(1, 40), 60)

    assert (found.rows <= 40).all()


@models
def test_of_equals_the_first_row_comes_first(case: Case) -> None:
    model = case.make()
    steps = [(number, row) for number in range(6) for row in (0, 1 + number)]
    sessions, rows = np.array(steps).T
    model.update_many(
        Events(
            sessions.astype(np.int64),
            rows.astype(np.int32),
            np.full(len(steps), Kind.PURCHASE, np.uint8),
            np.full(len(steps), 1_000, np.int64),
        )
    )

    found = model.scores(case.prefix(0), 12)

    for place in range(1, len(found.rows)):
        if found.scores[place] == found.scores[place - 1]:
            assert found.rows[place] > found.rows[place - 1]


@models
def test_the_same_events_again_from_the_beginning_give_the_same_answer(case: Case) -> None:
    first, again = case.make(), case.make()
    first.update_many(clicks())

    again.load(case.make().state())
    again.update_many(clicks())

    expected, found = first.scores(case.prefix(1, 2, 3), 12), again.scores(case.prefix(1, 2, 3), 12)
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), rel=1e-5)


@models
def test_memory_does_not_grow_with_events(case: Case) -> None:
    model = case.make()
    model.update_many(clicks(4_000))
    before = sum(array.nbytes for array in model.state().values())

    model.update_many(clicks(16_000, seed=3))

    assert sum(array.nbytes for array in model.state().values()) <= 1.1 * before + 1_000
