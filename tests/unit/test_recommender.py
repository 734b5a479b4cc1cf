"""Answers by rung, and why a cheaper one answered."""

from typing import Any

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.history import EMPTY_HISTORY, History
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.ranked import Ranked
from recommender.ranker import FEATURES
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.reranking import Reranked
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=64),
    session_knn=SessionKnnParameters(sessions_max=64, postings_max=512),
)
_SESSIONS = (("a", "b", "c"), ("a", "b", "d"), ("a", "b"), ("e", "f"), ("e", "f", "g"), ("h",), ("h",), ("h",), ("h",))


def _model(sessions: tuple[tuple[str, ...], ...] = _SESSIONS, version: str = "v1") -> LiveModel:
    model = LiveModel(version, _PARAMETERS)
    steps = [(number, model.items.add(item)) for number, session in enumerate(sessions) for item in session]
    numbers, rows = np.array(steps, np.int64).reshape(-1, 2).T
    times_ms = _NOW_MS - 60_000 + np.arange(len(steps))
    model.learn(Events(np.ascontiguousarray(numbers), rows.astype(np.int32), np.ones(len(steps), np.uint8), times_ms))
    return model


def _recommender(model: LiveModel | None = None, catalogue: tuple[str, ...] = ()) -> Recommender:
    recommender = Recommender(RecommenderSettings(shuffle_share=0.0), extra_candidates=lambda: catalogue)
    recommender.use(model)
    return recommender


def _viewed(*items: str) -> History:
    return History(items, _NOW_MS - len(items) + np.arange(len(items)), np.full(len(items), Kind.VIEW, np.uint8))


def _ask(recommender: Recommender, request: RecommendRequest, history: History = EMPTY_HISTORY) -> Ranked:
    return recommender.recommend(request, history, _NOW_MS, 200.0)


def _ids(ranked: Ranked) -> list[str]:
    return [item.id for item in ranked.items]


def test_an_empty_shop_is_answered_with_nothing_and_the_reason() -> None:
    ranked = _ask(_recommender(), RecommendRequest("v"))

    assert (ranked.items, ranked.served_by, ranked.degraded) == ((), "none", "no-data")


def test_a_cold_shop_answers_from_its_catalogue() -> None:
    recommender = _recommender(catalogue=("x", "y", "z"))
    recommender.set_available("y", False)

    ranked = _ask(recommender, RecommendRequest("v", n=5))

    assert (_ids(ranked), ranked.served_by, ranked.degraded) == (["x", "z"], "popular", "no-model")


def test_a_visitor_with_history_gets_what_goes_with_it() -> None:
    ranked = _ask(_recommender(_model()), RecommendRequest("v", n=2), _viewed("a"))

    assert _ids(ranked)[0] == "b"
    assert (ranked.served_by, ranked.degraded, ranked.model_version) == ("ranker", None, "v1")


def test_the_pages_own_item_counts_while_its_click_is_in_flight() -> None:
    ranked = _ask(_recommender(_model()), RecommendRequest("v", n=2, item="e"))

    assert set(_ids(ranked)) == {"f", "g"}
    assert ranked.served_by == "ranker"


def test_a_stranger_gets_what_trends_and_is_told_why() -> None:
    ranked = _ask(_recommender(_model()), RecommendRequest("v", n=1))

    assert (_ids(ranked), ranked.degraded) == (["h"], "no-history")


def test_without_time_a_cheaper_rung_answers_and_says_so() -> None:
    ranked = _recommender(_model()).recommend(RecommendRequest("v", n=3), _viewed("a"), _NOW_MS, 0.01)

    assert (ranked.served_by, ranked.degraded, len(ranked.items)) == ("popular", "budget", 3)


def test_with_less_time_than_the_ranker_takes_the_blend_answers_and_says_so() -> None:
    ranked = _recommender(_model()).recommend(RecommendRequest("v", n=3), _viewed("a"), _NOW_MS, 3.5)

    assert (ranked.served_by, ranked.degraded, len(ranked.items)) == ("blend", "budget", 3)


def test_a_crowd_is_answered_by_a_cheaper_list_of_the_visitors_own_and_told_so() -> None:
    recommender = _recommender(_model())

    alone = recommender.recommend(RecommendRequest("v", n=1), _viewed("a"), _NOW_MS, 200.0, waiting=1)
    crowded = recommender.recommend(RecommendRequest("v", n=1), _viewed("a"), _NOW_MS, 200.0, waiting=5_000)

    assert (alone.served_by, alone.degraded) == ("ranker", None)
    assert (crowded.served_by, crowded.degraded) == ("neighbours", "load")
    assert _ids(crowded) == ["b"]


def test_fills_up_from_cheaper_rungs_and_then_from_the_catalogue() -> None:
    ranked = _ask(_recommender(_model(), catalogue=("a", "new")), RecommendRequest("v", n=20, item="a"))

    assert _ids(ranked)[0] == "b"
    assert set(_ids(ranked)) == {"b", "c", "d", "e", "f", "g", "h", "new"}
    assert len(_ids(ranked)) == 8


def test_an_unavailable_item_is_gone_at_once_and_back_at_once() -> None:
    recommender = _recommender(_model())
    recommender.set_available("b", False)
    without = _ids(_ask(recommender, RecommendRequest("v", n=20), _viewed("a")))
    recommender.set_available("b", True)

    assert "b" not in without
    assert "b" in _ids(_ask(recommender, RecommendRequest("v", n=20), _viewed("a")))


def test_an_item_unavailable_before_the_model_knows_it_stays_so() -> None:
    recommender = _recommender()
    recommender.set_available("b", False)
    recommender.use(_model())

    assert "b" not in _ids(_ask(recommender, RecommendRequest("v", n=20), _viewed("a")))


def test_the_unavailable_stay_so_over_a_swap_of_models_with_other_rows() -> None:
    recommender = _recommender(_model())
    recommender.set_available("b", False)
    _ask(recommender, RecommendRequest("v"))
    recommender.use(_model((("z", "b", "a"), ("b", "a")), version="v2"))

    ranked = _ask(recommender, RecommendRequest("v", n=20), _viewed("a"))

    assert set(_ids(ranked)) == {"z", "a"}
    assert ranked.model_version == "v2"


def test_explains_by_the_visitors_own_events() -> None:
    ranked = _ask(_recommender(_model()), RecommendRequest("v", n=8, explain=True), _viewed("e", "a"))

    reasons = {item.id: item.reasons for item in ranked.items}
    assert next((reason.because, reason.item) for reason in reasons["b"]) == ("viewed", "a")
    assert next((reason.because, reason.item) for reason in reasons["g"]) == ("viewed", "e")


def test_gives_no_reasons_unasked() -> None:
    assert all(item.reasons == () for item in _ask(_recommender(_model()), RecommendRequest("v")).items)


def test_scores_never_grow_along_the_list() -> None:
    ranked = _ask(_recommender(_model(), catalogue=("new",)), RecommendRequest("v", n=20), _viewed("a"))

    scores = [item.score for item in ranked.items]
    assert scores == sorted(scores, reverse=True)


def test_similar_items_leave_out_the_item_itself_and_the_unavailable() -> None:
    recommender = _recommender(_model())
    recommender.set_available("c", False)

    found = [item.id for item in recommender.similar("b", 10)]

    assert found[0] == "a"
    assert "d" in found
    assert not {"b", "c"} & set(found)
    assert recommender.similar("unknown", 10) == ()


@pytest.mark.parametrize("history", [_viewed("unknown"), EMPTY_HISTORY])
def test_a_history_the_model_does_not_know_is_no_history(history: History) -> None:
    assert _ask(_recommender(_model()), RecommendRequest("v"), history).degraded == "no-history"


def test_a_filter_and_a_booster_change_what_is_suggested() -> None:
    recommender = _recommender(_model())
    for item_id in "abcde":
        recommender.describe(
            item_id, Product(item_id, price=float(ord(item_id)), category="x" if item_id in "bc" else "y")
        )

    plain = _ids(_ask(recommender, RecommendRequest("v", n=3), _viewed("a")))
    filtered = _ids(_ask(recommender, RecommendRequest("v", n=5, filters=("category == 'x'",)), _viewed("a")))
    lifted = (f"if item_id == '{plain[-1]}' then 100 else 1",)
    boosted = _ids(_ask(recommender, RecommendRequest("v", n=3, boosters=lifted), _viewed("a")))

    assert set(filtered) == {"b", "c"}
    assert boosted[0] == plain[-1]


def test_what_was_shown_lately_stands_further_down() -> None:
    recommender = _recommender(_model())
    first = _ids(_ask(recommender, RecommendRequest("v", n=3), _viewed("a")))[0]

    worn = _ids(_ask(recommender, RecommendRequest("v", n=3, worn={first: 0.0}), _viewed("a")))

    assert worn[0] != first


def test_features_of_the_model_can_be_asked_for() -> None:
    recommender = _recommender(_model())

    asked = RecommendRequest("v", n=20, filters=("popularity > 0",))

    assert _ids(_ask(recommender, asked, _viewed("a")))


def _rerank(recommender: Recommender, *candidates: str, left_ms: float = 200.0, **asked: Any) -> Reranked:
    return recommender.rerank(candidates, RecommendRequest("v", **asked), _viewed("a"), _NOW_MS, left_ms)


def test_candidates_come_in_the_visitors_order_and_the_rest_in_the_shops() -> None:
    recommender = _recommender(_model())

    found = _rerank(recommender, "h", "z", "c", "b", "y")

    assert set(found.item_ids) == {"h", "z", "c", "b", "y"}
    assert found.item_ids[:2] == ("b", "c")
    assert found.item_ids.index("z") < found.item_ids.index("y")
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert (found.order, found.degraded) == ("blend", None)


def test_candidates_are_filtered_and_what_cannot_be_bought_stands_last() -> None:
    recommender = _recommender(_model())
    recommender.describe("b", Product("b", price=1.0, availability="out_of_stock"))
    recommender.describe("c", Product("c", price=9.0))
    recommender.describe("h", Product("h", price=2.0))

    assert _rerank(recommender, "b", "h", "c", filters=("price < 5",)).item_ids == ("h", "b")


def test_without_time_candidates_keep_the_shops_order() -> None:
    found = _rerank(_recommender(_model()), "h", "c", "b", left_ms=0.0)

    assert (found.item_ids, found.order, found.degraded) == (("h", "c", "b"), "given", "budget")


def test_a_ranked_item_tells_what_moved_it_besides_the_events_that_speak_for_it() -> None:
    ranked = _ask(_recommender(_model()), RecommendRequest("v", n=2, explain=True), _viewed("a"))

    first = ranked.items[0].reasons
    assert (first[0].because, first[0].item) == ("viewed", "a")
    features = [reason for reason in first if reason.because == "ranked"]
    assert 0 < len(features) <= 5
    assert all(reason.feature in FEATURES and reason.weight for reason in features)


def test_a_share_of_answers_is_left_to_chance_at_the_end_and_says_how_likely_it_was() -> None:
    recommender = Recommender(RecommenderSettings(shuffle_share=1.0, shuffle_slots=2))
    recommender.use(_model())

    ranked = _ask(recommender, RecommendRequest("v", n=6))

    assert ranked.exploration is not None
    assert ranked.exploration.slots == (4, 5)
    assert [item.propensity is None for item in ranked.items] == [True] * 4 + [False] * 2
    assert ranked == _ask(recommender, RecommendRequest("v", n=6))
