"""Put what no record can take on `events-rejected`, with the reason and where it lies in `events`."""

from collections.abc import Sequence

import msgspec
from prometheus_client import Counter

from feature_store.placing import Refusal
from ingest.bus.contract import Bus, Record
from ingest.errors import BusError, BusUnavailableError
from ingest.events import RejectedEvent
from ingest.topics import EVENTS_REJECTED

_REFUSED = Counter("afterclick_feature_store_events_refused_total", "Events that no record could take", ["code"])
_KEPT_BYTES_MAX = 32_768
_GOT_CHARACTERS_MAX = 500


async def publish_refusals(bus: Bus, refused: Sequence[Refusal], *, now_ms: int) -> None:
    """Publish them; after a crash they may be there twice, told by their position.

    Raises:
        BusUnavailableError: not all of them are there; publish again.
    """
    verdicts = await bus.publish(EVENTS_REJECTED, [_record(refusal, now_ms) for refusal in refused])
    for verdict in verdicts:
        if isinstance(verdict, BusError):
            raise BusUnavailableError(f"events-rejected: wanted to keep a refused event; {verdict}") from verdict
    for refusal in refused:
        _REFUSED.labels(refusal.error.code).inc()


def _record(refusal: Refusal, now_ms: int) -> Record:
    rejected = RejectedEvent(
        code=refusal.error.code,
        wanted=refusal.error.wanted,
        got=refusal.error.got[:_GOT_CHARACTERS_MAX],
        next_step=refusal.error.next_step,
        stage="worker",
        rejected_at_ms=now_ms,
        event=_as_kept(refusal.entry.payload),
        position=f"{refusal.partition}/{refusal.entry.position}",
    )
    return Record(key=b"", payload=msgspec.json.encode(rejected), event_time_ms=now_ms)


def _as_kept(payload: bytes | None) -> object:
    """The entry as JSON where it is some; else, and when it is large, the beginning of its text."""
    if payload is None or len(payload) > _KEPT_BYTES_MAX:
        return (payload or b"")[:_GOT_CHARACTERS_MAX].decode(errors="replace")
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="replace")
