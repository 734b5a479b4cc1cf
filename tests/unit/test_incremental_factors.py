"""Item factors that learn between refits: exact for what defines them, and there for new items at once."""

import numpy as np
import pytest

from feature_store.kinds import Kind
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events, Prefix

PARAMETERS = IalsParameters(factors=16, alpha=50.0, regularization=5.0, iterations=5)


def two_tastes(sessions: int, *, begin: int = 0, seed: int = 4, items: int = 60) -> Events:
    """Sessions of four views each; even sessions look at the lower half of the items, odd ones at the upper."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(begin, begin + sessions), 4)
    half = items // 2
    rows = random.integers(0, half, len(numbers)) + (numbers % 2) * half
    views = np.full(len(numbers), Kind.VIEW, np.uint8)
    return Events(numbers, rows.astype(np.int32), views, np.arange(len(numbers)) + 1)


def prefix(*rows: int) -> Prefix:
    return Prefix(np.array(rows, np.int32), np.full(len(rows), Kind.VIEW, np.uint8), np.zeros(len(rows), np.int64))


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


@pytest.mark.parametrize("sessions_max", [4096, 300], ids=["all held", "most forgotten"])
def test_random_items_agree_with_their_exact_solve_after_every_thousand_updates(sessions_max: int) -> None:
    limits = IncrementalLimits(sessions_max=sessions_max)
    model = LearningIals.fitted(two_tastes(300), items=60, parameters=PARAMETERS, limits=limits)
    random = np.random.default_rng(5)

    for batch in range(4):
        model.update_many(two_tastes(250, begin=300 + 250 * batch, seed=batch, items=64))

        for row in random.choice(60, 10, replace=False):
            assert cosine(model.exact_vector(int(row)), model.factors.vectors[row]) > 0.99


def test_the_gram_matrix_follows_the_vectors() -> None:
    model = LearningIals.fitted(two_tastes(100), items=60, parameters=PARAMETERS)
    model.update_many(two_tastes(400, begin=100))

    wide = model.factors.live.astype(np.float64)

    expected = wide.T @ wide + PARAMETERS.regularization * np.eye(16)
    np.testing.assert_allclose(model.factors.gram, expected, atol=1e-3)


def test_a_new_item_goes_to_the_right_visitors_after_two_clicks() -> None:
    model = LearningIals.fitted(two_tastes(400), items=60, parameters=PARAMETERS)
    new = 60

    for session, known in ((400, 3), (401, 7)):
        model.update(session, known, Kind.VIEW, 1)
        model.update(session, new, Kind.VIEW, 2)

    lower = model.scores(prefix(3, 9), 61)
    upper = model.scores(prefix(33, 39), 61)
    assert lower.rows.tolist().index(new) < 10
    assert upper.rows.tolist().index(new) > 10


def test_an_item_clicked_before_anything_else_gets_its_vector_with_the_next_click() -> None:
    model = LearningIals.fitted(two_tastes(100), items=60, parameters=PARAMETERS)

    model.update(100, 60, Kind.VIEW, 1)
    alone = model.factors.vectors[60].any()
    model.update(100, 3, Kind.VIEW, 2)

    assert not alone
    assert model.factors.vectors[60].any()


def test_changed_rows_are_told_once() -> None:
    model = LearningIals.fitted(two_tastes(50), items=60, parameters=PARAMETERS)
    model.update(50, 7, Kind.VIEW, 1)

    first, second = model.changed_rows(), model.changed_rows()

    assert 7 in first
    assert len(second) == 0


def test_a_replica_that_is_told_the_changed_rows_answers_alike() -> None:
    learner = LearningIals.fitted(two_tastes(100), items=60, parameters=PARAMETERS)
    replica = LearningIals(PARAMETERS, learner.factors.live.copy())

    for batch in range(3):
        learner.update_many(two_tastes(30, begin=100 + 30 * batch, items=64))
        block = learner.block(learner.changed_rows())
        replica.set_block(block)
        replica.set_block(block)

    expected, found = learner.scores(prefix(3, 9), 20), replica.scores(prefix(3, 9), 20)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


def test_memory_does_not_grow_with_events() -> None:
    limits = IncrementalLimits(sessions_max=128, pairs_max=8)
    model = LearningIals.fitted(two_tastes(50), items=60, parameters=PARAMETERS, limits=limits)

    def held() -> int:
        return sum(array.nbytes for array in model.state().values())

    model.update_many(two_tastes(500, begin=50))
    before = held()
    model.update_many(two_tastes(2000, begin=550))

    assert held() == before


def test_an_event_of_a_session_long_replaced_is_left_out() -> None:
    model = LearningIals.fitted(
        two_tastes(50), items=60, parameters=PARAMETERS, limits=IncrementalLimits(sessions_max=64)
    )
    model.update_many(two_tastes(200, begin=50))
    model.changed_rows()

    model.update(3, 5, Kind.VIEW, 1)

    assert len(model.changed_rows()) == 0


def test_a_refit_begins_with_the_factors_it_is_given() -> None:
    events = two_tastes(200)
    cold = LearningIals.fitted(events, items=60, parameters=PARAMETERS)
    one_more = IalsParameters(factors=16, alpha=50.0, regularization=5.0, iterations=1)

    warm = LearningIals.fitted(events, items=61, parameters=one_more, start=cold.factors.live)

    agreement = [cosine(warm.factors.vectors[row], cold.factors.vectors[row]) for row in range(60)]
    assert min(agreement) > 0.9


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fit_is_the_same_whatever_the_threads(threads: int) -> None:
    events = two_tastes(200)

    model = LearningIals.fitted(events, items=60, parameters=PARAMETERS, threads=threads)
    again = LearningIals.fitted(events, items=60, parameters=PARAMETERS, threads=1)

    np.testing.assert_array_equal(model.factors.live, again.factors.live)
