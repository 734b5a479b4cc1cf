"""Whatever is asked of whatever model: n items whenever n are eligible, none twice, none forbidden, always the same."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.kinds import Kind
from recommender.history import History
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.ials import Ials, IalsParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=16),
    session_knn=SessionKnnParameters(sessions_max=16, postings_max=128),
    ials=IalsParameters(factors=8),
)
_ITEMS = [f"item-{number}" for number in range(12)]
_CATALOGUE = [*_ITEMS[6:], "extra-1", "extra-2"]

item_ids = st.sampled_from([*_ITEMS, "extra-1", "unknown"])
subsets = st.lists(item_ids, max_size=8, unique=True).map(tuple)
histories = st.lists(st.tuples(item_ids, st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6, 7])), max_size=12)
requests = st.builds(
    RecommendRequest,
    visitor=st.just("v"),
    n=st.integers(1, 20),
    item=st.none() | item_ids,
    cart=subsets,
    exclude=subsets,
    explain=st.booleans(),
)


def _model(steps: list[tuple[int, int]], *, factors: bool) -> LiveModel:
    model = LiveModel("v1", _PARAMETERS)
    for _, item in steps:
        model.items.add(_ITEMS[item])
    rows = np.array([model.items.row(_ITEMS[item]) for _, item in steps], np.int32)
    sessions = np.array([session for session, _ in steps], np.int64)
    model.learn(Events(sessions, rows, np.ones(len(steps), np.uint8), _NOW_MS - 1_000 + np.arange(len(steps))))
    if factors:
        vectors = np.random.default_rng(0).normal(size=(len(model.items), 8)).astype(np.float32)
        model.replace_ials(Ials(_PARAMETERS.ials, vectors))
    return model


def _history(events: list[tuple[str, int]]) -> History:
    times_ms = _NOW_MS - len(events) + np.arange(len(events), dtype=np.int64)
    return History(tuple(item for item, _ in events), times_ms, np.array([kind for _, kind in events], np.uint8))


def _left_out(request: RecommendRequest, events: list[tuple[str, int]]) -> set[str]:
    """The rules once more, event by event, as the manual states them."""
    cart, bought = set(request.cart), set()
    for item, kind in events:
        if kind == Kind.ADD_TO_CART:
            cart.add(item)
        elif kind == Kind.REMOVE_FROM_CART and item not in request.cart:
            cart.discard(item)
        elif kind == Kind.PURCHASE:
            bought.add(item)
        elif kind == Kind.REFUND:
            bought.discard(item)
        if kind == Kind.PURCHASE and item not in request.cart:
            cart.discard(item)
    return cart | bought | set(request.exclude) | ({request.item} if request.item else set())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11)), max_size=40),
    st.booleans(),
    requests,
    histories,
    subsets,
    st.sampled_from([200.0, 2.0, 0.0]),
)
def test_answers_as_many_as_are_eligible_and_nothing_else(
    steps: list[tuple[int, int]],
    factors: bool,
    request: RecommendRequest,
    events: list[tuple[str, int]],
    unavailable: tuple[str, ...],
    time_left_ms: float,
) -> None:
    recommender = Recommender(RecommenderSettings(shuffle_share=0.0), extra_candidates=lambda: _CATALOGUE)
    model = _model(steps, factors=factors)
    recommender.use(model)
    for item_id in unavailable:
        recommender.set_available(item_id, False)
    eligible = {*model.items.ids, *_CATALOGUE} - set(unavailable) - _left_out(request, events)

    ranked = recommender.recommend(request, _history(events), _NOW_MS, time_left_ms)

    ids = [item.id for item in ranked.items]
    assert len(ids) == min(request.n, len(eligible))
    assert len(set(ids)) == len(ids)
    assert set(ids) <= eligible
    scores = [item.score for item in ranked.items]
    assert scores == sorted(scores, reverse=True)
    assert (ranked.served_by == "none") == (not ids)
    assert recommender.recommend(request, _history(events), _NOW_MS, time_left_ms) == ranked
