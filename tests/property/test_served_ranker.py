"""What a server ranks by, in one compiled call, is what the ranker is fitted with and evaluated by."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.blend import BlendParameters
from recommender.models.ials import IalsParameters
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Prefix
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions
from recommender.quantized import ServedIals
from recommender.ranker import RankedModels, Ranker
from recommender.ranker.trees import default_trees
from recommender.served_ranker import ServedRanker

_ITEMS = 40
_NOW_MS = 1_700_000_000_000
_TREES = default_trees()
clicks = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, _ITEMS - 1), st.sampled_from([1, 3, 4, 5])), max_size=200
)
walks = st.lists(st.tuples(st.integers(0, _ITEMS + 3), st.sampled_from([1, 3, 4, 5])), min_size=1, max_size=12)


def _models(steps: list[tuple[int, int, int]], seed: int) -> RankedModels:
    vectors = np.random.default_rng(seed).normal(size=(_ITEMS - 5, 8)).astype(np.float32)
    models = RankedModels(
        Popularity(),
        SessionKnn(SessionKnnParameters(sessions_max=16, postings_max=128, neighbours=5, sessions_per_item=4)),
        Transitions(TransitionParameters(sessions_max=16, neighbours_max=6)),
        # The newest items have no vector yet.
        ServedIals(IalsParameters(factors=8, alpha=20.0, regularization=1.0), vectors),
        OwnSession(),
    )
    columns = np.array(sorted(steps), np.int64).reshape(-1, 3).T
    times_ms = _NOW_MS - 1_000_000 + np.arange(len(steps), dtype=np.int64) * 1_000
    events = Events(columns[0].copy(), columns[1].astype(np.int32), columns[2].astype(np.uint8), times_ms)
    for model in (models.popularity, models.session_knn, models.transitions):
        model.update_many(events)
    return models


def _served(models: RankedModels) -> ServedRanker:
    assert isinstance(models.ials, ServedIals)
    popularity, knn, transitions, ials, own, _ = models
    return ServedRanker(knn, transitions, ials, own, popularity, _TREES, BlendParameters())


def _prefix(walk: list[tuple[int, int]]) -> Prefix:
    rows, kinds = np.array(walk, np.int64).reshape(-1, 2).T
    return Prefix(rows.astype(np.int32), kinds.astype(np.uint8), _NOW_MS + np.arange(len(walk), dtype=np.int64))


@settings(deadline=None, max_examples=60)
@given(clicks, walks, st.integers(1, 60), st.integers(0, 2**32))
def test_the_server_ranks_as_the_evaluation_does(
    steps: list[tuple[int, int, int]], walk: list[tuple[int, int]], n: int, seed: int
) -> None:
    models, prefix = _models(steps, seed), _prefix(walk)
    blocked = np.random.default_rng(seed).random(_ITEMS) < 0.2
    served, ranker = _served(models), Ranker(models, _TREES)

    found, again = served.scores(prefix, n, blocked), served.scores(prefix, n, blocked)

    wanted = ranker.scores(prefix, n, blocked)
    assert len(found.rows) >= len(wanted.rows)
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert not blocked[found.rows[found.rows < _ITEMS]].any()
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.scores[: len(wanted.rows)], wanted.scores, atol=1e-3)
    assert again.rows.tolist() == found.rows.tolist(), "an answer left something in the scratch"
