"""Segment's shapes (track, page, identify, alias, batch), as our own events; other names of the same shape pass too.

Field names: segment.com/docs/connections/spec/ (common fields, ecommerce v2).
"""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from ingest.events import ITEMS_MAX, canonical_name

Message = Mapping[str, Any]
Call = Literal["track", "page", "screen", "identify", "alias", "group"]
CALLS: tuple[Call, ...] = Call.__args__  # type: ignore[attr-defined]

MESSAGE_ID_CHARACTERS = (8, 64)


def event_of(message: Message, call: str) -> dict[str, Any] | None:
    """One message as a sent event, unchecked; None: it says nothing a shop's suggestions could use.

    Segment's sources send every event of a site to every destination; a "Signed Up" is no mistake of the sender.
    """
    name = {"track": _name_of(message), "page": "page_view", "screen": "page_view"}.get(call)
    properties = _mapping(message.get("properties"))
    if call in {"identify", "alias"}:
        name = "identify" if message.get("userId") else None
    if name is None:
        return None
    anonymous_id = message.get("previousId") if call == "alias" else message.get("anonymousId")
    event = {
        "message_id": message_id_of(message),
        "event": name,
        "anonymous_id": anonymous_id,
        "user_id": message.get("userId"),
        "timestamp": message.get("originalTimestamp") or message.get("timestamp"),
        "sent_at": message.get("sentAt"),
        "items": _items(properties) if call == "track" else [],
        "session_id": _text(_mapping(message.get("context")).get("sessionId")),
        "value": _number(properties, "total", "revenue", "value"),
        "currency": properties.get("currency"),
        "cart_id": _text(properties.get("cart_id") or properties.get("order_id")),
        "search_term": properties.get("query"),
        "recommendation_id": properties.get("recommendation_id"),
        "placement": properties.get("placement"),
    }
    return {field: value for field, value in event.items() if value is not None}


def message_id_of(message: Message) -> str:
    """The sender's id, as long as ours may be; made up where there is none (such a message is counted twice when
    it is sent twice).
    """
    sent = message.get("messageId")
    if not isinstance(sent, str) or not sent:
        return uuid.uuid4().hex
    shortest, longest = MESSAGE_ID_CHARACTERS
    if shortest <= len(sent) <= longest:
        return sent
    return hashlib.blake2b(sent.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _name_of(message: Message) -> str | None:
    event = message.get("event")
    return canonical_name(event) if isinstance(event, str) else None


def _items(properties: Message) -> list[dict[str, Any]]:
    products = properties.get("products")
    if not isinstance(products, list):
        # One product's fields stand in the properties themselves.
        products = [properties]
    items = [_item(product) for product in products[: ITEMS_MAX + 1] if isinstance(product, dict)]
    return [item for item in items if item]


def _item(product: Message) -> dict[str, Any]:
    item_id = _text(product.get("product_id") or product.get("sku") or product.get("id"))
    if item_id is None:
        return {}
    quantity, price, index = product.get("quantity"), _number(product, "price"), product.get("position")
    item = {
        "item_id": item_id,
        "quantity": quantity if isinstance(quantity, int) and quantity >= 1 else None,
        "price": price if price is not None and price >= 0 else None,
        "index": index if isinstance(index, int) and 0 <= index <= 10_000 else None,
        "item_name": _text(product.get("name")),
        "item_brand": _text(product.get("brand")),
        "item_category": _text(product.get("category")),
        "item_variant": _text(product.get("variant")),
        "coupon": _text(product.get("coupon")),
    }
    return {field: value for field, value in item.items() if value is not None}


def _mapping(value: Any) -> Message:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    # Shops number their products; JSON then has a number where we have a text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _number(properties: Message, *names: str) -> float | None:
    for name in names:
        value = properties.get(name)
        if isinstance(value, str):
            # Segment's spec says number, its users' data layers say "19.99".
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None
