"""Whether a cart was left behind: looked at again when enough time has gone by, never guessed."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from feature_store.kinds import Kind
from ingest.events import Event
from recommender.history import History

_ITEMS_MAX = 50


class CartCheck(msgspec.Struct, frozen=True):
    """An entry of the topic `cart-checks`: look at this visitor's cart when this is delivered."""

    visitor_key: str
    added_ms: int


class Look(NamedTuple):
    """What was found. `items`: left behind, latest first; `again_in_ms`: look again then; both empty: all is well."""

    items: tuple[str, ...]
    again_in_ms: int


def checks_of(events: Iterable[Event]) -> list[CartCheck]:
    """One check for each visitor who put something into the cart, for the latest time, and who may be spoken to."""
    latest: dict[str, int] = {}
    for event in events:
        if event.event == "add_to_cart" and event.consent == "full" and not event.late:
            latest[event.visitor_key] = max(event.time_ms, latest.get(event.visitor_key, 0))
    return [CartCheck(visitor, added_ms) for visitor, added_ms in latest.items()]


def look_at(history: History, check: CartCheck, *, now_ms: int, cart_left_ms: int, cart_ms_max: int) -> Look:
    """Is the cart left behind now? A later addition has a check of its own, so this one then says nothing."""
    adds = history.kind == Kind.ADD_TO_CART
    if bool((history.time_ms[adds] > check.added_ms).any()):
        return Look((), 0)
    items = cart_items(history, since_ms=now_ms - cart_ms_max)
    if not items:
        return Look((), 0)
    idle_ms = now_ms - int(history.time_ms[-1])
    if idle_ms < cart_left_ms:
        return Look((), cart_left_ms - idle_ms)
    return Look(items, 0)


def cart_items(history: History, *, since_ms: int) -> tuple[str, ...]:
    """What is in the cart, the latest first, at most 50: put in since then and neither taken out nor bought."""
    cart: dict[str, None] = {}
    for index in np.flatnonzero(history.kind >= Kind.ADD_TO_CART):
        item_id, kind = history.item_ids[index], history.kind[index]
        if kind == Kind.ADD_TO_CART and history.time_ms[index] >= since_ms:
            cart.pop(item_id, None)
            cart[item_id] = None
        elif kind in (Kind.REMOVE_FROM_CART, Kind.PURCHASE):
            cart.pop(item_id, None)
    return tuple(reversed(cart))[:_ITEMS_MAX]


_decoder = msgspec.json.Decoder(CartCheck)


def decode_check(payload: bytes) -> CartCheck:
    """Decode one entry.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(payload)
