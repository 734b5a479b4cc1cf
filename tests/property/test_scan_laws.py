"""The scan kernels equal a sort of everything, whatever the scores, the ties and the blocked rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.scan import best_by_product, best_of

# Small whole numbers: sums are exact in float32, so that ties are ties in every order of summation.
WHOLE = st.integers(-4, 4).map(np.float32)


def slow_best(scores: np.ndarray, n: int, blocked: np.ndarray, above: float = -np.inf) -> list[int]:
    allowed = [row for row in range(len(scores)) if not (row < len(blocked) and blocked[row]) and scores[row] > above]
    return sorted(allowed, key=lambda row: (-scores[row], row))[:n]


@given(st.data(), st.integers(0, 40), st.integers(1, 9), st.integers(1, 50))
def test_scan_equals_a_full_sort(data: st.DataObject, items: int, size: int, n: int) -> None:
    factors = data.draw(hnp.arrays(np.float32, (items, size), elements=WHOLE))
    vector = data.draw(hnp.arrays(np.float32, size, elements=WHOLE))
    blocked = data.draw(hnp.arrays(np.bool_, st.integers(0, items)))

    found = best_by_product(factors, vector, n, blocked)

    products = factors @ vector
    assert found.rows.tolist() == slow_best(products, n, blocked)
    assert found.scores.tolist() == [products[row] for row in found.rows]


@given(hnp.arrays(np.float32, st.integers(0, 60), elements=WHOLE), st.integers(1, 70), st.integers(-4, 4))
def test_best_of_equals_a_full_sort(scores: np.ndarray, n: int, above: int) -> None:
    found = best_of(scores, n, above=above)

    assert found.rows.tolist() == slow_best(scores, n, np.zeros(0, bool), above)


def test_a_score_that_is_no_number_is_never_answered() -> None:
    factors = np.array([[np.nan], [1.0], [np.nan], [3.0]], np.float32)

    found = best_by_product(factors, np.ones(1, np.float32), 4)

    assert found.rows.tolist() == [3, 1]


def test_recall_on_a_large_catalogue_is_one() -> None:
    random = np.random.default_rng(3)
    factors = random.normal(size=(20_000, 64)).astype(np.float32)
    vector = random.normal(size=64).astype(np.float32)

    found = best_by_product(factors, vector, 20)

    exact = np.argsort(-(factors.astype(np.float64) @ vector.astype(np.float64)), kind="stable")[:20]
    assert set(found.rows.tolist()) == set(exact.tolist())
