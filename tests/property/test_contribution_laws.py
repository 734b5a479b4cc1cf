"""Taken apart by the visitor's events, every list's scores and the blend's sum to what was served."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalog import Product
from recommender.contributions import blended_contributions, own_shares, step_shares, vector_shares
from recommender.fold_in import fold_in_exactly, prefix_weights
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.bought_together import BoughtTogether, BoughtTogetherParameters
from recommender.models.content import Content, ContentParameters
from recommender.models.ials import IalsParameters
from recommender.models.knn_shares import session_shares
from recommender.models.own_session import OwnSession
from recommender.models.protocol import Events, Prefix
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.quantized import ServedIals

_ITEMS = 14
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=64),
    session_knn=SessionKnnParameters(sessions_max=64, postings_max=1024, neighbours=8),
    ials=IalsParameters(factors=8, alpha=20.0, regularization=1.0),
    bought_together=BoughtTogetherParameters(baskets_max=64),
)

histories = st.lists(st.tuples(st.integers(0, 20), st.integers(0, _ITEMS - 1)), min_size=1, max_size=80)
ways = st.lists(st.tuples(st.integers(0, _ITEMS - 1), st.sampled_from([1, 1, 1, 2, 3, 5])), min_size=1, max_size=20)
blocks = st.sets(st.integers(0, _ITEMS - 1), max_size=6)


def _model(history: list[tuple[int, int]], seed: int) -> LiveModel:
    model = LiveModel("v", _PARAMETERS)
    for item in range(_ITEMS):
        model.items.add(f"item-{item}")
    ordered = sorted(history, key=lambda step: step[0])
    numbers, rows = np.array(ordered, np.int64).T
    kinds = np.where(np.arange(len(ordered)) % 3, 1, 5).astype(np.uint8)
    model.learn(
        Events(np.ascontiguousarray(numbers), rows.astype(np.int32), kinds, 1_000 * np.arange(len(ordered)) + 1)
    )
    vectors = np.random.default_rng(seed).normal(size=(_ITEMS, 8)).astype(np.float32)
    model.replace_ials(ServedIals(_PARAMETERS.ials, vectors))
    return model


def _prefix(way: list[tuple[int, int]]) -> Prefix:
    rows, kinds = np.array(way).T
    return Prefix(rows.astype(np.int32), kinds.astype(np.uint8), 100_000_000 + np.arange(len(way), dtype=np.int64))


def _blocked(rows: set[int]) -> np.ndarray:
    blocked = np.zeros(_ITEMS, np.bool_)
    blocked[list(rows)] = True
    return blocked


@settings(max_examples=150, deadline=None)
@given(histories, ways, blocks, st.integers(0, 100))
def test_the_blends_shares_sum_to_the_served_score(
    history: list[tuple[int, int]], way: list[tuple[int, int]], blocked_rows: set[int], seed: int
) -> None:
    model, prefix, blocked = _model(history, seed), _prefix(way), _blocked(blocked_rows)
    served = model.personal(prefix, 10, blocked)

    found = blended_contributions(model, prefix, served.rows, 10, blocked)

    assert found.shares.shape == (len(served.rows), len(way))
    np.testing.assert_allclose(found.scores, served.scores, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.shares.sum(axis=1), served.scores, atol=1e-5, rtol=0)


@settings(max_examples=150, deadline=None)
@given(histories, ways, st.integers(0, 100))
def test_each_lists_shares_sum_to_its_scores_before_anything_is_settled(
    history: list[tuple[int, int]], way: list[tuple[int, int]], seed: int
) -> None:
    model, prefix = _model(history, seed), _prefix(way)
    rows = np.arange(_ITEMS, dtype=np.int32)
    own = OwnSession()
    lists = (
        (model.session_knn.scores(prefix, _ITEMS), session_shares(model.session_knn, prefix, rows), 1e-4),
        (model.transitions.scores(prefix, _ITEMS), step_shares(model, prefix, rows), 1e-4),
        (own.scores(prefix, _ITEMS), own_shares(prefix, rows), 1e-6),
        (model.bought_together.scores(prefix, _ITEMS), model.bought_together.contributions(prefix, rows), 1e-4),
    )

    for scored, shares, tolerance in lists:
        np.testing.assert_allclose(shares[scored.rows].sum(axis=1), scored.scores, rtol=tolerance, atol=tolerance)


@settings(max_examples=100, deadline=None)
@given(ways, st.integers(0, 100))
def test_a_vectors_shares_sum_to_the_exact_score(way: list[tuple[int, int]], seed: int) -> None:
    # What is served is a solve of a few steps in float32; the shares are those of the exact one.
    ials, prefix = _model([(0, 0)], seed).ials, _prefix(way)
    newest = Prefix(*(column[-ials.parameters.last :] for column in prefix))
    weights = prefix_weights(newest, ials.parameters.decay)
    visitor = fold_in_exactly(ials.factors.gram, ials.factors.vectors, newest.rows, weights, alpha=20.0)

    shares = vector_shares(ials, prefix, np.arange(_ITEMS, dtype=np.int32))

    np.testing.assert_allclose(shares.sum(axis=1), ials.factors.live @ visitor, rtol=1e-4, atol=1e-4)
    assert (shares[:, : -ials.parameters.last] == 0).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["red lamp", "blue lamp", "red chair", "table"]), min_size=2, max_size=14), ways)
def test_likeness_is_a_sum_over_the_items_that_are_asked(titles: list[str], way: list[tuple[int, int]]) -> None:
    model, prefix = Content(ContentParameters(buckets=64)), _prefix(way)
    for row, title in enumerate(titles):
        model.describe(row, Product(f"{row}", title=title, category=title[-4:]))
    found = model.scores(prefix, _ITEMS)

    shares = model.contributions(prefix, found.rows)

    np.testing.assert_allclose(shares.sum(axis=1), found.scores, atol=1e-5, rtol=1e-4)


def test_a_bought_pair_tells_which_item_it_was() -> None:
    model = BoughtTogether(BoughtTogetherParameters(baskets_max=4))
    for session, rows in enumerate([(0, 2), (1, 3)]):
        for row in rows:
            model.update(session, row, 5, 1_000)

    shares = model.contributions(_prefix([(0, 1), (1, 1)]), np.array([2, 3], np.int32))

    assert (shares > 0).tolist() == [[True, False], [False, True]]
