"""What lies on the topic `engagements`: one reason to turn to one visitor."""

from hashlib import blake2b
from typing import Literal

import msgspec

Reason = Literal["cart_left_behind", "price_drop", "back_in_stock"]

_DAY_MS = 86_400_000


class Engagement(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry; no raw visitor id is in it.

    Attributes:
        engagement_id: of reason, visitor, items and day: the same reason on the same day has the same id, so that
            whoever acts on it can see a repetition.
        visitor_key: 32 hex digits; the shop learns whose it is from `POST /v1/visitors/keys`.
        items: item ids the reason is about, at most 50.
        price, price_before: of the item, for `price_drop`.
    """

    engagement_id: str
    reason: Reason
    visitor_key: str
    items: tuple[str, ...]
    made_at_ms: int
    price: float | None = None
    price_before: float | None = None


def engagement_id(reason: Reason, visitor: bytes, item_id: str, now_ms: int) -> str:
    """24 hex digits that name a reason to turn to a visitor about an item on a day (UTC)."""
    text = b"\0".join((reason.encode(), visitor, item_id.encode(), str(now_ms // _DAY_MS).encode()))
    return blake2b(text, digest_size=12).hexdigest()


_decoder = msgspec.json.Decoder(Engagement)
_encoder = msgspec.json.Encoder()


def decode_engagement(payload: bytes) -> Engagement:
    """Decode one entry.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(payload)


def encode_engagement(engagement: Engagement) -> bytes:
    """One JSON value."""
    return _encoder.encode(engagement)
