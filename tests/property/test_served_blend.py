"""What a server answers by one call of compiled code is what the models answer one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.blend import Blend, BlendParameters
from recommender.byte_products import dot_bytes
from recommender.models.ials import IalsParameters
from recommender.models.own_session import OwnSession
from recommender.models.protocol import Events, Prefix
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions
from recommender.quantized import ServedIals
from recommender.served_blend import ServedBlend

_ITEMS = 40
_NOW_MS = 1_700_000_000_000
_OWN = OwnSession()

clicks = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, _ITEMS - 1), st.sampled_from([1, 3, 4, 5])), max_size=200
)
walks = st.lists(st.tuples(st.integers(0, _ITEMS + 3), st.sampled_from([1, 3, 4, 5])), max_size=12)
weightings = st.lists(st.sampled_from([0.0, 0.3, 1.2]), min_size=4, max_size=4)


def _models(steps: list[tuple[int, int, int]], seed: int) -> tuple[SessionKnn, Transitions, ServedIals]:
    session_knn = SessionKnn(SessionKnnParameters(sessions_max=16, postings_max=128, neighbours=5, sessions_per_item=4))
    transitions = Transitions(TransitionParameters(sessions_max=16, neighbours_max=6))
    vectors = np.random.default_rng(seed).normal(size=(_ITEMS, 8)).astype(np.float32)
    # The newest items have no vector yet.
    ials = ServedIals(IalsParameters(factors=8, alpha=20.0, regularization=1.0), vectors[:-5])
    columns = np.array(sorted(steps), np.int64).reshape(-1, 3).T
    times_ms = _NOW_MS - 1_000_000 + np.arange(len(steps), dtype=np.int64) * 1_000
    events = Events(columns[0].copy(), columns[1].astype(np.int32), columns[2].astype(np.uint8), times_ms)
    for model in (session_knn, transitions):
        model.update_many(events)
    return session_knn, transitions, ials


def _prefix(walk: list[tuple[int, int]]) -> Prefix:
    rows, kinds = np.array(walk, np.int64).reshape(-1, 2).T
    return Prefix(rows.astype(np.int32), kinds.astype(np.uint8), _NOW_MS + np.arange(len(walk), dtype=np.int64))


@settings(deadline=None, max_examples=60)
@given(clicks, walks, weightings, st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32))
def test_equals_the_blend_of_the_models_one_by_one(
    steps: list[tuple[int, int, int]],
    walk: list[tuple[int, int]],
    weighting: list[float],
    n: int,
    depth: int,
    seed: int,
) -> None:
    models, prefix = _models(steps, seed), _prefix(walk)
    names = ("session-knn", "transitions", "ials", "own-session")
    parameters = BlendParameters({name: (weight,) * 5 for name, weight in zip(names, weighting, strict=True)}, depth)
    blocked = np.random.default_rng(seed).random(_ITEMS - 2) < 0.2

    served = ServedBlend(*models, _OWN, parameters)
    found, again = served.scores(prefix, n, blocked), served.scores(prefix, n, blocked)

    wanted = Blend([*models, _OWN], parameters).scores(prefix, max(n, depth), blocked)
    assert len(found.rows) == min(n, len(wanted.rows))
    # Compiled together, sums are rounded otherwise, and near ties may change places: each row has its score, in order.
    score_of = dict(zip(wanted.rows.tolist(), wanted.scores.tolist(), strict=True))
    np.testing.assert_allclose(found.scores, [score_of[row] for row in found.rows.tolist()], rtol=1e-4)
    np.testing.assert_allclose(found.scores, wanted.scores[: len(found.rows)], rtol=1e-4)
    assert again.rows.tolist() == found.rows.tolist(), "an answer left something in the scratch"


@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**32))
def test_products_of_bytes_are_exact(width: int, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (rows, width)).astype(np.int8)
    query = random.integers(-127, 128, width).astype(np.int8)

    found = [dot_bytes(codes, row, query, np.int32(query.sum(dtype=np.int32))) for row in range(rows)]

    assert found == (codes.astype(np.int32) @ query.astype(np.int32)).tolist()
