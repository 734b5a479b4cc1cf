"""How entries are Pulsar messages: packs in streams, single ones with a percent-encoded key in tables and queues."""

import time
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import _pulsar

from ingest.bus.contract import Entry, Position, Record
from ingest.bus.metrics import UNDECODABLE
from ingest.bus.packs import NotAPackError, PackCodec
from ingest.topics import Topic

ADAPTER = "pulsar"

# A position's index holds the place in the client's batch above the place in the pack (at most 65,536 entries).
_PACK_BITS = 16


def position_of(message_id: Any, index: int = 0) -> Position:
    """Entry `index` of the message with this id."""
    batch_index = max(0, message_id.batch_index())
    return Position(message_id.ledger_id(), message_id.entry_id(), (batch_index << _PACK_BITS) + index)


def message_id_of(position: Position) -> Any:
    """The broker's entry that holds a position; all of its batch."""
    return _pulsar.MessageId(-1, position.major, position.minor, -1)


def follows(last: Position, current: Position) -> bool:
    """Does message `current` come right after message `last`, as far as ids tell?

    A new ledger may hide a gap, so it counts as one: it comes every few hours.
    """
    if last.major != current.major:
        return False
    last_place, place = last.index >> _PACK_BITS, current.index >> _PACK_BITS
    if last.minor == current.minor:
        return place == last_place + 1
    return current.minor == last.minor + 1 and place == 0


def key_text(key: bytes) -> str:
    """A key as Pulsar's string key: readable where it is ASCII, reversible always."""
    return quote_from_bytes(key, safe="")


def build_pack(message: bytes) -> Any:
    """The message of one pack."""
    builder = _pulsar.MessageBuilder()
    builder.content(message)
    return builder.build()


def build_single(record: Record, properties: dict[str, str] | None = None, *, delay_ms: int = 0) -> Any:
    """The message of one entry of a table or queue; without a payload it deletes the key."""
    builder = _pulsar.MessageBuilder()
    if record.payload is None:
        builder.set_null_value()
    else:
        builder.content(record.payload)
    builder.partition_key(key_text(record.key))
    if record.event_time_ms > 0:
        builder.event_timestamp(record.event_time_ms)
    for name, text in (properties or {}).items():
        builder.property(name, text)
    if delay_ms > 0:
        builder.deliver_at(time.time_ns() // 1_000_000 + delay_ms)
    return builder.build()


def decode_entries(topic: Topic, message: Any, codec: PackCodec) -> tuple[Entry, ...]:
    """The entries of one message; none when it is not one of ours (counted)."""
    message_id = message.message_id()
    if topic.kind != "stream":
        payload = None if message.has_null_value() else message.data()
        key = unquote_to_bytes(message.partition_key())
        return (Entry(key, payload, message.event_timestamp(), position_of(message_id)),)
    try:
        found = codec.decode(message.data())
    except NotAPackError:
        UNDECODABLE.labels(ADAPTER).inc()
        return ()
    first = position_of(message_id)
    return tuple(
        Entry(e.k, bytes(e.p), e.t, Position(first.major, first.minor, first.index + i)) for i, e in enumerate(found)
    )
