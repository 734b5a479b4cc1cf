"""What a bus promises: durable publishes, totally ordered positions, at-least-once reads; one file per broker keeps it.

Streams carry **packs**: what goes to one partition in one publish is one message of the broker, and each entry of it
has a position of its own. An entry's payload is one JSON value (bytes), so that other teams can read the topic.
"""

import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from ingest.errors import BusError
from ingest.topics import Topic

POSITION_BYTES = 16


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an entry lies in its partition; totally ordered there, meaningless across partitions.

    `major`, `minor`: the broker's message id (Pulsar: ledger, entry; Valkey Streams: milliseconds, sequence).
    `index`: 0-based place in the pack.
    """

    major: int
    minor: int
    index: int

    def to_bytes(self) -> bytes:
        """16 bytes, big-endian (8 + 4 + 4): byte order is position order."""
        return self.major.to_bytes(8, "big") + self.minor.to_bytes(4, "big") + self.index.to_bytes(4, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Position":
        """The inverse of `to_bytes`; `raw` is exactly 16 bytes."""
        return cls(int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:12], "big"), int.from_bytes(raw[12:16], "big"))

    def __str__(self) -> str:
        return f"{self.major:016x}-{self.minor:08x}-{self.index:08x}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The inverse of `str`: fixed-width hexadecimal, so that names sort as positions do."""
        major, minor, index = text.split("-")
        return cls(int(major, 16), int(minor, 16), int(index, 16))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One entry to publish. `payload` is one JSON value; None deletes the key (tables only)."""

    key: bytes
    payload: bytes | None
    event_time_ms: int = 0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry as read. `payload` is None for a deletion in a table."""

    key: bytes
    payload: bytes | None
    event_time_ms: int
    position: Position


class Delivery(msgspec.Struct, frozen=True):
    """One message of the broker: a pack of entries, all of one partition, in order.

    `epoch` changes whenever this subscription may have lost and regained the partition, or skipped: a reader that keeps
    state per partition (dedup, caches) drops it and starts from its stored position.
    `handle` is the adapter's own, for `acknowledge` and `nack`.
    """

    topic: str
    partition: int
    log_id: int
    accepted_at_ms: int
    entries: tuple[Entry, ...]
    epoch: int = 0
    redelivery_count: int = 0
    handle: object = None

    @property
    def last(self) -> Position:
        """The position of the pack's last entry."""
        return self.entries[-1].position


Published = Position | BusError
"""The verdict on one record: where it lies, durably, or why it is not there."""

Mode = Literal["ordered", "queue"]


class Subscription(Protocol):
    """A named, durable place in a topic. `ordered`: partitions are shared out among the live consumers of the name."""

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Delivery]:
        """What is at hand, at least one delivery unless `wait_ms` passes; per partition in order.

        Raises:
            BusUnavailableError: the broker does not answer; call again, the subscription reconnects by itself.
        """
        ...

    async def acknowledge(self, delivery: Delivery) -> None:
        """Ordered: all of that partition up to and including `delivery`. Queue: this one."""
        ...

    async def nack(self, delivery: Delivery, *, delay_ms: int = 0) -> None:
        """Queue only: deliver again after `delay_ms`; after the topic's limit it goes to the dead letters."""
        ...

    async def close(self) -> None:
        """Give the partitions back; unacknowledged deliveries go to others."""
        ...


class Table(Protocol):
    """The latest value per key, kept up to date."""

    def items(self) -> dict[bytes, bytes]:
        """Everything now known, by key; a copy."""
        ...

    async def changes(self, *, wait_ms: int) -> list[Entry]:
        """What has changed since the last call (the first call gives everything); empty after `wait_ms`."""
        ...

    async def close(self) -> None:
        """Stop following."""
        ...


Start = Literal["earliest", "latest"] | Position | int
"""Where a read begins: an end, after a position (exclusive), or at a Unix time in ms of acceptance by the bus."""


class Below(Protocol):
    """What an archive gives a bus that trims: `read` goes on in it below what the bus still holds."""

    def __call__(self, topic: Topic, partition: int, start: Start, end: Position, /) -> AsyncIterator[Delivery]:
        """Deliveries from `start` (as `Bus.read`) up to, and without, `end`; nothing for a topic it does not hold."""
        ...


class Bus(Protocol):
    """The one interface everything uses; `pulsar.py` and `embedded.py` keep it, the conformance suite proves it."""

    async def ensure(self, topics: Sequence[Topic], *, partitions: int) -> None:
        """Create what is missing, with retention and a log id. Idempotent. `partitions` holds for partitioned ones."""
        ...

    async def partitions(self, topic: Topic) -> int:
        """How many partitions the topic was made with (1 when it is not partitioned)."""
        ...

    async def log_id(self, topic: Topic) -> int:
        """64-bit id made with the topic; another one means a wiped broker."""
        ...

    async def publish(self, topic: Topic, records: Sequence[Record], *, delay_ms: int = 0) -> list[Published]:
        """One verdict per record, in order, once the broker has it durably; never raises for a broker that is down.

        `delay_ms`: queues only.
        """
        ...

    async def subscribe(self, topic: Topic, name: str, *, mode: Mode, consumer: str = "") -> Subscription:
        """Join the subscription `name`, starting at the earliest entry when it is new."""
        ...

    async def unsubscribe(self, topic: Topic, name: str) -> None:
        """Forget a subscription and its place, so that nothing is kept for it any more. Idempotent."""
        ...

    def read(
        self, topic: Topic, partition: int, *, start: Start = "earliest", until_now: bool = False
    ) -> AsyncIterator[Delivery]:
        """Replay one partition without disturbing subscriptions; follows the tail unless `until_now`."""
        ...

    async def table(self, topic: Topic) -> Table:
        """Follow a table topic."""
        ...

    async def alive(self) -> bool:
        """Does the broker answer? Within 500 ms, never raises."""
        ...

    async def close(self) -> None:
        """Flush and let go of every connection."""
        ...


def partition_of(key: bytes, partitions: int) -> int:
    """The partition a key lives in: CRC-32 modulo the count, the same on every broker."""
    return zlib.crc32(key) % partitions
