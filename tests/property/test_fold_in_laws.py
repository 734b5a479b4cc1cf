"""The fold-in solves what it says it solves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_store.kinds import Kind
from recommender.fold_in import fold_in, fold_in_exactly, prefix_weights
from recommender.models.protocol import Prefix


def problem(seed: int, items: int, size: int, events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    factors = (random.normal(size=(items, size)) / np.sqrt(size)).astype(np.float32)
    gram = (factors.T @ factors + np.eye(size)).astype(np.float32)
    rows = random.integers(0, items, events).astype(np.int32)
    weights = random.random(events).astype(np.float32)
    return gram, factors, rows, weights


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 32), st.integers(1, 30), st.sampled_from([1.0, 50.0]))
def test_conjugate_gradient_with_enough_steps_is_the_exact_solve(
    seed: int, items: int, size: int, events: int, alpha: float
) -> None:
    gram, factors, rows, weights = problem(seed, items, size, events)

    quick = fold_in(gram, factors, rows, weights, alpha=alpha, steps=2 * size + 20)

    exact = fold_in_exactly(gram, factors, rows, weights, alpha=alpha)
    np.testing.assert_allclose(quick, exact, atol=3e-3 * max(1.0, float(np.abs(exact).max())))


@given(st.integers(0, 10**6))
def test_the_default_steps_point_where_the_exact_solve_does(seed: int) -> None:
    gram, factors, rows, _ = problem(seed, 500, 64, 12)
    weights = np.exp(-np.arange(12, dtype=np.float32))

    quick = fold_in(gram, factors, rows, weights, alpha=100.0)

    exact = fold_in_exactly(gram, factors, rows, weights, alpha=100.0)
    assert quick @ exact / (np.linalg.norm(quick) * np.linalg.norm(exact)) > 0.999


@given(st.integers(0, 10**6))
def test_order_of_the_events_does_not_matter(seed: int) -> None:
    gram, factors, rows, weights = problem(seed, 50, 8, 10)
    shuffled = np.random.default_rng(seed).permutation(10)

    one = fold_in(gram, factors, rows, weights, alpha=10.0, steps=30)
    other = fold_in(gram, factors, rows[shuffled], weights[shuffled], alpha=10.0, steps=30)

    np.testing.assert_allclose(one, other, atol=1e-3)


def test_starting_at_the_answer_stays_there() -> None:
    gram, factors, rows, weights = problem(5, 200, 16, 6)
    exact = fold_in_exactly(gram, factors, rows, weights, alpha=10.0)

    again = fold_in(gram, factors, rows, weights, alpha=10.0, steps=1, start=exact)

    np.testing.assert_allclose(again, exact, atol=1e-4)


def test_who_did_nothing_has_no_vector() -> None:
    gram, factors, _, _ = problem(5, 10, 4, 1)

    vector = fold_in(gram, factors, np.empty(0, np.int32), np.empty(0, np.float32), alpha=1.0)

    assert not vector.any()


def test_read_only_and_strided_rows_are_taken_as_they_come() -> None:
    gram, factors, rows, weights = problem(5, 10, 4, 6)
    frozen = np.repeat(rows, 2)[::2]
    frozen.flags.writeable = False

    vector = fold_in(gram, factors, frozen, weights, alpha=1.0)

    np.testing.assert_array_equal(vector, fold_in(gram, factors, rows, weights, alpha=1.0))


def test_weights_fall_with_distance_and_rise_with_intent() -> None:
    kinds = np.array([Kind.VIEW, Kind.PURCHASE, Kind.VIEW, Kind.REMOVE_FROM_CART], np.uint8)

    weights = prefix_weights(Prefix(np.zeros(4, np.int32), kinds, np.zeros(4, np.int64)), decay=0.5)

    np.testing.assert_allclose(weights, [np.exp(-1.5), 3 * np.exp(-1.0), np.exp(-0.5), 0.0], rtol=1e-6)
