"""When there is a reason to turn to a visitor, and when there is none."""

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.events import Event, Item
from recommender.history import History
from recommender.triggers.cart_left import CartCheck, cart_items, checks_of, look_at
from recommender.triggers.engagement import Reason, engagement_id
from recommender.triggers.offers import Offer, news

NOW_MS = 1_784_000_000_000
HOUR_MS = 3_600_000
VISITOR = "ab" * 16


def _history(*events: tuple[str, Kind, int]) -> History:
    """Events with how long ago each was, in ms."""
    return History(
        tuple(item for item, _, _ in events),
        np.array([NOW_MS - ago for _, _, ago in events], np.int64),
        np.array([kind for _, kind, _ in events], np.uint8),
    )


def _look(history: History, *, added_ago: int) -> tuple[tuple[str, ...], int]:
    check = CartCheck(VISITOR, NOW_MS - added_ago)
    return look_at(history, check, now_ms=NOW_MS, cart_left_ms=HOUR_MS, cart_ms_max=100 * HOUR_MS)


def _event(name: str, *, consent: str | None = "full", time_ms: int = NOW_MS, visitor: str = VISITOR) -> Event:
    return Event("message-1", name, visitor, time_ms, time_ms, (Item("mug"),), consent=consent)  # type: ignore[arg-type]


def test_a_cart_nobody_touched_for_an_hour_is_left_behind() -> None:
    history = _history(("mug", Kind.ADD_TO_CART, 2 * HOUR_MS), ("pot", Kind.ADD_TO_CART, HOUR_MS))

    assert _look(history, added_ago=HOUR_MS) == (("pot", "mug"), 0)


def test_somebody_who_still_looks_around_is_looked_at_again_later() -> None:
    history = _history(("mug", Kind.ADD_TO_CART, HOUR_MS), ("pot", Kind.VIEW, HOUR_MS // 4))

    assert _look(history, added_ago=HOUR_MS) == ((), HOUR_MS - HOUR_MS // 4)


def test_a_later_addition_has_a_check_of_its_own() -> None:
    history = _history(("mug", Kind.ADD_TO_CART, 3 * HOUR_MS), ("pot", Kind.ADD_TO_CART, 2 * HOUR_MS))

    assert _look(history, added_ago=3 * HOUR_MS) == ((), 0)


@pytest.mark.parametrize("kind", [Kind.PURCHASE, Kind.REMOVE_FROM_CART])
def test_what_was_bought_or_taken_out_is_not_left_behind(kind: Kind) -> None:
    history = _history(("mug", Kind.ADD_TO_CART, 3 * HOUR_MS), ("mug", kind, 2 * HOUR_MS))

    assert _look(history, added_ago=3 * HOUR_MS) == ((), 0)
    assert cart_items(history, since_ms=0) == ()


def test_an_old_addition_is_no_reason() -> None:
    history = _history(("mug", Kind.ADD_TO_CART, 101 * HOUR_MS))

    assert _look(history, added_ago=101 * HOUR_MS) == ((), 0)


def test_only_who_consented_is_checked_and_once() -> None:
    events = [
        _event("add_to_cart", time_ms=NOW_MS - 5),
        _event("add_to_cart"),
        _event("add_to_cart", consent="session", visitor="cd" * 16),
        _event("view_item", visitor="ef" * 16),
    ]

    assert checks_of(events) == [CartCheck(VISITOR, NOW_MS)]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, Offer(1.0, "EUR", True), None),
        (Offer(10.0, "EUR", True), Offer(9.5, "EUR", True), "price_drop"),
        (Offer(10.0, "EUR", True), Offer(9.6, "EUR", True), None),
        (Offer(10.0, "EUR", True), Offer(11.0, "EUR", True), None),
        (Offer(10.0, "EUR", True), Offer(9.0, "GBP", True), None),
        (Offer(10.0, "EUR", True), Offer(0.0, "EUR", True), None),
        (Offer(10.0, "EUR", False), Offer(10.0, "EUR", True), "back_in_stock"),
        (Offer(10.0, "EUR", True), Offer(1.0, "EUR", False), None),
        (Offer(None, None, True), Offer(1.0, "EUR", True), None),
    ],
)
def test_what_is_news(before: Offer | None, after: Offer, reason: Reason | None) -> None:
    assert news(before, after, price_drop_min=0.05) == reason


def test_the_same_reason_on_the_same_day_has_the_same_id() -> None:
    visitor = bytes.fromhex(VISITOR)
    day_ms = 24 * HOUR_MS
    midnight_ms = NOW_MS - NOW_MS % day_ms

    assert engagement_id("price_drop", visitor, "mug", midnight_ms) == engagement_id(
        "price_drop", visitor, "mug", midnight_ms + day_ms - 1
    )
    others = {
        engagement_id("price_drop", visitor, "mug", midnight_ms + day_ms),
        engagement_id("back_in_stock", visitor, "mug", midnight_ms),
        engagement_id("price_drop", visitor, "pot", midnight_ms),
        engagement_id("price_drop", b"o" * 16, "mug", midnight_ms),
        engagement_id("price_drop", visitor, "mug", midnight_ms),
    }
    assert len(others) == 5
