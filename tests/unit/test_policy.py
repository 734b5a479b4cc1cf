"""What a visitor's request and events leave out."""

import numpy as np

from feature_store.kinds import Kind
from recommender.history import EMPTY_HISTORY, History
from recommender.policy import exclusions
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000
_SETTINGS = RecommenderSettings()


def _history(*events: tuple[str, Kind]) -> History:
    times_ms = np.arange(len(events), dtype=np.int64) + _NOW_MS - 1_000
    return History(tuple(item for item, _ in events), times_ms, np.array([kind for _, kind in events], np.uint8))


def test_names_the_rule_of_each_item() -> None:
    request = RecommendRequest("v", item="page", cart=("cart",), exclude=("out",))
    history = _history(("seen", Kind.VIEW), ("added", Kind.ADD_TO_CART), ("owned", Kind.PURCHASE))

    found = exclusions(request, history, now_ms=_NOW_MS, settings=_SETTINGS)

    assert found.page_item == {"page"}
    assert found.excluded == {"out"}
    assert found.in_cart == {"cart", "added"}
    assert found.bought == {"owned"}
    assert "seen" not in found.all()


def test_what_was_taken_out_or_bought_is_no_longer_in_the_cart() -> None:
    history = _history(
        ("a", Kind.ADD_TO_CART), ("b", Kind.ADD_TO_CART), ("a", Kind.REMOVE_FROM_CART), ("b", Kind.PURCHASE)
    )

    found = exclusions(RecommendRequest("v"), history, now_ms=_NOW_MS, settings=_SETTINGS)

    assert found.in_cart == frozenset()
    assert found.bought == {"b"}


def test_a_refunded_item_may_be_suggested_again() -> None:
    history = _history(("a", Kind.PURCHASE), ("a", Kind.REFUND))

    assert exclusions(RecommendRequest("v"), history, now_ms=_NOW_MS, settings=_SETTINGS).bought == frozenset()


def test_a_cart_of_last_week_is_forgotten() -> None:
    history = _history(("a", Kind.ADD_TO_CART))

    found = exclusions(RecommendRequest("v"), history, now_ms=_NOW_MS + 7 * 86_400_000, settings=_SETTINGS)

    assert found.in_cart == frozenset()


def test_bought_items_come_back_where_the_shop_wants_it() -> None:
    settings = RecommenderSettings(exclude_purchased=False)

    found = exclusions(RecommendRequest("v"), _history(("a", Kind.PURCHASE)), now_ms=_NOW_MS, settings=settings)

    assert found.bought == frozenset()


def test_leaves_nothing_out_for_a_stranger() -> None:
    assert exclusions(RecommendRequest("v"), EMPTY_HISTORY, now_ms=_NOW_MS, settings=_SETTINGS).all() == frozenset()
