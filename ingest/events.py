"""The event vocabulary: what a sender may post (`SentEvent`) and what lies on the topic (`Event`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

EventName = Literal[
    "view_item",
    "view_item_list",
    "select_item",
    "add_to_cart",
    "remove_from_cart",
    "view_cart",
    "begin_checkout",
    "purchase",
    "refund",
    "search",
    "view_promotion",
    "select_promotion",
    "page_view",
    "identify",
]

EVENT_NAMES: tuple[EventName, ...] = EventName.__args__  # type: ignore[attr-defined]

NEEDS_ITEMS: frozenset[str] = frozenset(
    {"view_item", "view_item_list", "select_item", "add_to_cart", "remove_from_cart", "purchase", "refund"}
)
"""Events that say nothing without an item."""

ALIASES: Mapping[str, EventName] = {
    # Segment, RudderStack, PostHog
    "Product Viewed": "view_item",
    "Product List Viewed": "view_item_list",
    "Product Clicked": "select_item",
    "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Cart Viewed": "view_cart",
    "Checkout Started": "begin_checkout",
    "Order Completed": "purchase",
    "Order Refunded": "refund",
    "Products Searched": "search",
    "Promotion Viewed": "view_promotion",
    "Promotion Clicked": "select_promotion",
    # Snowplow e-commerce
    "product_view": "view_item",
    "list_view": "view_item_list",
    "list_click": "select_item",
    "checkout_step": "begin_checkout",
    "transaction": "purchase",
    "promo_view": "view_promotion",
    "promo_click": "select_promotion",
    # Google Retail
    "detail-page-view": "view_item",
    "category-page-view": "view_item_list",
    "add-to-cart": "add_to_cart",
    "remove-from-cart": "remove_from_cart",
    "shopping-cart-page-view": "view_cart",
    "checkout-start": "begin_checkout",
    "purchase-complete": "purchase",
    # Recombee
    "AddDetailView": "view_item",
    "AddCartAddition": "add_to_cart",
    "DeleteCartAddition": "remove_from_cart",
    "AddPurchase": "purchase",
    "DeletePurchase": "refund",
    "SearchItems": "search",
}

ITEMS_MAX = 200
"""Items an event may carry, as GA4 has it."""

# The floor (2000) catches senders that put seconds where milliseconds belong and still lets old history in.
TIMESTAMP_MS_FLOOR = 946_684_800_000

SCHEMA_VERSION = 1

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
ItemId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, lt=100_000_000_000_000)]
Key = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
"""What stands for a person's id: 32 hex digits."""


class Item(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One product in an event, in GA4's names."""

    item_id: ItemId
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    price: Annotated[float, msgspec.Meta(ge=0)] | None = None
    index: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    item_name: str | None = None
    item_brand: str | None = None
    item_category: str | None = None
    item_variant: str | None = None
    item_list_id: str | None = None
    coupon: str | None = None
    discount: float | None = None


class SentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as a sender posts it. Unknown fields pass: the snippet may be newer than the server.

    `timestamp`, `sent_at`: Unix milliseconds or RFC 3339; absent means "now".
    """

    message_id: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]
    event: str
    anonymous_id: Id | None = None
    user_id: Id | None = None
    timestamp: int | datetime | None = None
    sent_at: int | datetime | None = None
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=ITEMS_MAX)] = ()
    session_id: Id | None = None
    page_view_id: Id | None = None
    value: float | None = None
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    cart_id: Id | None = None
    search_term: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    recommendation_id: Annotated[str, msgspec.Meta(max_length=160)] | None = None
    placement: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    consent: Literal["none", "session", "full"] | None = None


class Attribution(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an answer was that an event's items came from; read from its signed `recommendation_id` by the collector.

    Attributes:
        variant: `experiment/variant`, empty outside experiments.
        rules: version of the rule set. `model_ms`: when its model was made; 0 without one.
        foreign: places in `items` of those that were not in the answer and so do not count.
    """

    placement: str
    served_ms: TimeMs
    variant: str = ""
    rules: int = 0
    model_ms: TimeMs = 0
    foreign: tuple[int, ...] = ()


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One accepted event, as it lies on the topic `events`; no raw visitor id is in it.

    Attributes:
        visitor_key: 32 hex digits, keyed BLAKE2b of the anonymous id (of the user id where there is none).
        user_key: the same of the user id, when one was sent.
        browser_key: of the second event that an `identify` becomes, the one under the user's key: which browser it was.
        time_ms: event time corrected for the sender's clock: `received_at − (sent_at − timestamp)`.
        received_at_ms: when the collector had it.
        client_time_ms: the raw client time, kept for audit.
        late: older than the allowed lateness when it came (history sent with the secret key): it feeds archive and
            learner and moves no live window. Decided once, by the collector, so that every replay agrees.
        attribution: what the items count for; None without a `recommendation_id` that counts. Decided once, too.
    """

    message_id: str
    event: EventName
    visitor_key: Key
    time_ms: TimeMs
    received_at_ms: TimeMs
    items: tuple[Item, ...] = ()
    user_key: Key | None = None
    browser_key: Key | None = None
    client_time_ms: TimeMs | None = None
    session_id: str | None = None
    page_view_id: str | None = None
    value: float | None = None
    currency: str | None = None
    cart_id: str | None = None
    search_term: str | None = None
    recommendation_id: str | None = None
    placement: str | None = None
    consent: str | None = None
    late: bool = False
    attribution: Attribution | None = None
    schema_version: int = SCHEMA_VERSION


class RejectedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lies on `events-rejected`: the reason, and the event as far as it may be kept, ready to be mended."""

    code: str
    wanted: str
    got: str
    next_step: str
    stage: Literal["collector", "worker"]
    rejected_at_ms: int
    event: Any = None
    position: str | None = None
    """`partition/position` in `events`, when the worker refused it."""


_event_decoder = msgspec.json.Decoder(Event)
_event_encoder = msgspec.json.Encoder()


def decode_event(payload: bytes) -> Event:
    """Decode one entry of the topic `events`.

    Raises:
        msgspec.DecodeError: it is not an `Event` (msgspec.ValidationError is one).
    """
    return _event_decoder.decode(payload)


def encode_event(event: Event) -> bytes:
    """The JSON of one event, as it lies on the topic."""
    return _event_encoder.encode(event)


def canonical_name(name: str) -> EventName | None:
    """GA4's name for `name`, or None when nobody uses it."""
    if name in EVENT_NAMES:
        return name
    return ALIASES.get(name)
