"""What lies on `engagements` for the people who run the shop: the stream is out of the ordinary."""

from hashlib import blake2b
from typing import Literal

import msgspec

AlertReason = Literal["kind_stopped", "item_surge", "price_outlier"]


class StreamAlert(msgspec.Struct, frozen=True):
    """One entry.

    Attributes:
        engagement_id: of reason, subject and hour: told twice, it has the same id.
        subject: the event's name, or the item's id.
        expected, got: of what the reason counts: events or views in the window, or the price.
        says: the same in a sentence, with what to look at.
    """

    engagement_id: str
    reason: AlertReason
    subject: str
    made_at_ms: int
    expected: float
    got: float
    says: str


def stream_alert(
    reason: AlertReason, subject: str, *, at_ms: int, expected: float, got: float, says: str, once_ms: int
) -> StreamAlert:
    """An alert with the id that every repetition within `once_ms` has."""
    text = "\0".join((reason, subject, str(at_ms // once_ms)))
    name = blake2b(text.encode(), digest_size=12).hexdigest()
    return StreamAlert(name, reason, subject, at_ms, round(expected, 2), round(got, 2), says)


_decoder = msgspec.json.Decoder(StreamAlert)


def decode_alert(payload: bytes) -> StreamAlert:
    """Decode one entry.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(payload)
