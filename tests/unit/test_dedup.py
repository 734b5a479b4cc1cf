"""What a reader gets of a delivery, repeats gone."""

from ingest.archive import runs_by_hour
from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated, PartitionDeduplicator
from ingest.events import Event, encode_event
from ingest.settings import DedupSettings

HOUR_MS = 3_600_000
KEY = bytes(16)


def delivery_of(*message_ids: str | bytes, message: int = 1, accepted_at_ms: int = 0) -> Delivery:
    """Bytes stand for a payload that is no event."""
    payloads = [found if isinstance(found, bytes) else _payload(found) for found in message_ids]
    entries = tuple(Entry(KEY, payload, 5, Position(message, 0, at)) for at, payload in enumerate(payloads))
    return Delivery("events", 0, 1, accepted_at_ms, entries)


def _payload(message_id: str) -> bytes:
    return encode_event(Event(message_id, "search", KEY.hex(), 5, 5))


def survivors(part: Deduplicated) -> list[str]:
    return [event.message_id for event in part.events]


def test_repeats_go_within_a_pack_and_between_packs() -> None:
    memory = PartitionDeduplicator(DedupSettings())

    first = memory.admit(delivery_of("a", "b", "a"))
    second = memory.admit(delivery_of("b", "c", message=2))

    assert (survivors(first), first.repeats) == (["a", "b"], 1)
    assert (survivors(second), second.repeats) == (["c"], 1)
    assert [entry.position for entry in second.entries] == [Position(2, 0, 1)]


def test_a_delivery_of_repeats_alone_still_comes_to_be_acknowledged() -> None:
    memory = PartitionDeduplicator(DedupSettings())
    memory.admit(delivery_of("a"))

    again = memory.admit(delivery_of("a", message=2))

    assert (again.events, again.repeats, again.delivery.last) == ([], 1, Position(2, 0, 0))


def test_entries_remembered_count_as_seen() -> None:
    memory = PartitionDeduplicator(DedupSettings())
    memory.remember(delivery_of("a").entries, accepted_at_ms=0)

    assert survivors(memory.admit(delivery_of("a", "b", message=2))) == ["b"]


def test_a_broken_entry_with_an_id_is_handed_out_once() -> None:
    memory = PartitionDeduplicator(DedupSettings())
    broken = b'{"message_id": "x", "event": "no such event"}'

    parts = [memory.admit(delivery_of(broken, message=message)) for message in (1, 2)]

    assert [[entry.payload for entry, _ in part.broken] for part in parts] == [[broken], []]


def test_an_event_of_a_key_that_is_no_key_is_broken() -> None:
    payload = encode_event(Event("m", "search", "z" * 32, 5, 5))

    ((_, reason),) = PartitionDeduplicator(DedupSettings()).admit(delivery_of(payload)).broken

    assert "hex" in reason


def test_files_are_cut_where_the_hour_changes_and_again_where_a_clock_steps_back() -> None:
    memory = PartitionDeduplicator(DedupSettings())
    times_ms = [HOUR_MS - 2, HOUR_MS - 1, HOUR_MS, HOUR_MS - 1, HOUR_MS + 1]
    held = [memory.admit(delivery_of("a", message=at, accepted_at_ms=time)) for at, time in enumerate(times_ms)]

    runs = list(runs_by_hour(held))

    assert [[part.delivery.accepted_at_ms for part in run] for run in runs] == [
        [HOUR_MS - 2, HOUR_MS - 1],
        [HOUR_MS],
        [HOUR_MS - 1],
        [HOUR_MS + 1],
    ]
