"""The coarse scan finds what the exact one finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.models.ials import Ials, IalsParameters
from recommender.models.protocol import Events, Prefix
from recommender.quantized import ServedIals, quantise, scan_quantised
from recommender.scan import best_by_product


def _vectors(seed: int, items: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # Norms as skewed as popularity makes them.
    return (rng.normal(size=(items, size)) * (0.1 + rng.pareto(1.5, (items, 1)))).astype(np.float32)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12))
def test_a_code_is_within_half_a_step_of_its_number(seed: int, items: int, size: int) -> None:
    vectors = _vectors(seed, items, size)

    codes, scales = quantise(vectors)

    errors = np.abs(codes * scales[:, None] - vectors).max(axis=1)
    assert (errors <= scales * 0.5001).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 3_000), st.integers(1, 30), st.booleans())
def test_equals_the_exact_scan_when_every_row_is_scored_again(seed: int, items: int, n: int, block: bool) -> None:
    vectors, rng = _vectors(seed, items, 8), np.random.default_rng(seed)
    query = rng.normal(size=8).astype(np.float32)
    blocked = rng.random(items) < (0.3 if block else 0.0)

    rows, scores = scan_quantised(*quantise(vectors), vectors, query, n, items, blocked)

    exact = best_by_product(vectors, query, n, blocked)
    np.testing.assert_allclose(scores, exact.scores, rtol=1e-4, atol=1e-5)
    assert len(set(rows.tolist())) == len(rows)
    assert not blocked[rows].any()


def test_recall_against_the_exact_scan_is_at_least_99_percent() -> None:
    vectors = _vectors(3, 20_000, 128)
    codes, scales = quantise(vectors)
    queries = np.random.default_rng(4).normal(size=(30, 128)).astype(np.float32)
    nothing = np.zeros(0, np.bool_)

    hits = 0
    for query in queries:
        rows, _ = scan_quantised(codes, scales, vectors, query, 20, 46, nothing)
        hits += len(set(rows.tolist()) & set(best_by_product(vectors, query, 20).rows.tolist()))

    assert hits / (20 * len(queries)) >= 0.99


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 29), min_size=1, max_size=12, unique=True))
def test_stays_in_step_when_rows_change_and_items_come(seed: int, changed: list[int]) -> None:
    parameters = IalsParameters(factors=8, alpha=10.0)
    served, plain = ServedIals(parameters, _vectors(seed, 20, 8)), Ials(parameters, _vectors(seed, 20, 8))
    rows = np.array(changed, np.int32)
    news = {"rows": rows, "vectors": _vectors(seed + 1, len(rows), 8)}
    prefix = Prefix(np.array([0, 1], np.int32), np.ones(2, np.uint8), np.ones(2, np.int64))

    for model in (served, plain):
        model.update_many(
            Events(np.zeros(1, np.int64), np.array([29], np.int32), np.ones(1, np.uint8), np.ones(1, np.int64))
        )
        model.set_block(news)

    found, wanted = served.scores(prefix, 30), plain.scores(prefix, 30)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-4)
