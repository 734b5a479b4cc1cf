"""Take raw clicks in; hand clean, ordered, deduplicated events out."""

from ingest.errors import (
    ArchiveError,
    BusError,
    BusFullError,
    BusUnavailableError,
    EventRejectedError,
    IngestError,
    LogMismatchError,
    RequestRefusedError,
)
from ingest.events import Event, Item, SentEvent, decode_event, encode_event
from ingest.identity import visitor_key

__all__ = [
    "ArchiveError",
    "BusError",
    "BusFullError",
    "BusUnavailableError",
    "Event",
    "EventRejectedError",
    "IngestError",
    "Item",
    "LogMismatchError",
    "RequestRefusedError",
    "SentEvent",
    "decode_event",
    "encode_event",
    "visitor_key",
]
