"""One event, once: an ordered read without the repeats that clients send when they hold no 202."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from ingest.bus.contract import Bus, Delivery, Entry, Position, Start, Subscription
from ingest.errors import BusUnavailableError
from ingest.events import Event, decode_event
from ingest.identity import VISITOR_KEY_BYTES
from ingest.seen_ids import SeenIds, id_hash
from ingest.settings import DedupSettings
from ingest.tombstones import Tombstones
from ingest.topics import Topic

_REPEATS = Counter("afterclick_ingest_repeats_total", "Entries dropped as repeats of an event", ["reader"])
_REMEMBERED = Gauge(
    "afterclick_ingest_dedup_ids", "Message ids remembered", ["reader", "partition"], multiprocess_mode="livesum"
)
_WARM_SECONDS = Histogram(
    "afterclick_ingest_dedup_warm_seconds",
    "Re-reading the window of a partition taken over",
    ["reader"],
    buckets=(0.001, 0.004, 0.016, 0.064, 0.25, 1, 4, 16, 64),
)


class Deduplicated(msgspec.Struct, frozen=True):
    """One delivery without its repeats, decoded.

    Attributes:
        delivery: as the bus gave it; acknowledge this one, also when nothing of it survived.
        entries: those that survived, in order; `events[i]` is what `entries[i]` says.
        broken: entries that are no event, with the reason; for `events-rejected`.
        repeats: how many entries were dropped.
    """

    delivery: Delivery
    entries: list[Entry]
    events: list[Event]
    broken: list[tuple[Entry, str]]
    repeats: int


class PartitionDeduplicator:
    """The memory of one partition, fed with its entries in order."""

    def __init__(self, settings: DedupSettings) -> None:
        self._seen = SeenIds(
            window_ms=settings.window_ms, ids_max=settings.ids_max, clock_slack_ms=settings.clock_slack_ms
        )
        self.last: Position | None = None

    def __len__(self) -> int:
        return len(self._seen)

    def remember(self, entries: Sequence[Entry], *, accepted_at_ms: int) -> None:
        """Take note of entries that were read before, by this reader or another."""
        if entries:
            self._seen.admit([_hash_of(entry.payload) for entry in entries], accepted_at_ms=accepted_at_ms)
            self.last = entries[-1].position

    def admit(self, delivery: Delivery) -> Deduplicated:
        """The delivery without its repeats. Entries must come in order, each once."""
        decoded = [_decode(entry.payload) for entry in delivery.entries]
        hashes = [
            id_hash(found.message_id) if isinstance(found, Event) else _hash_of(entry.payload)
            for found, entry in zip(decoded, delivery.entries, strict=True)
        ]
        repeats = self._seen.admit(hashes, accepted_at_ms=delivery.accepted_at_ms)
        self.last = delivery.last
        survivors = Deduplicated(delivery, [], [], [], sum(repeats))
        for entry, found, repeat in zip(delivery.entries, decoded, repeats, strict=True):
            if repeat:
                continue
            if isinstance(found, Event):
                survivors.entries.append(entry)
                survivors.events.append(found)
            else:
                survivors.broken.append((entry, found))
        return survivors


class DeduplicatedSubscription:
    """An ordered subscription to `events` without the repeats; what survives is a function of the log alone.

    With `tombstones` the events of erased visitors are left out too. `reader` names it in the metrics.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        subscription: Subscription,
        settings: DedupSettings,
        reader: str,
        tombstones: Tombstones | None = None,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._subscription = subscription
        self._settings = settings
        self._reader = reader
        self._partitions: dict[int, tuple[tuple[int, int], PartitionDeduplicator]] = {}
        self._held: list[Delivery] = []
        self._repeats = _REPEATS.labels(reader)
        self._tombstones = tombstones

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Deduplicated]:
        """What is at hand, as `Subscription.receive`; a delivery of repeats alone comes too, to be acknowledged.

        Raises:
            BusUnavailableError: the broker does not answer; call again, nothing is skipped.
        """
        if not self._held:
            self._held = await self._subscription.receive(wait_ms=wait_ms, entries_max=entries_max)
        survivors: list[Deduplicated] = []
        while self._held:
            delivery = self._held[0]
            try:
                memory = await self._memory_for(delivery)
            except BusUnavailableError:
                if survivors:
                    break
                raise
            survivors.append(self._admit(memory, delivery))
            del self._held[0]
        return survivors

    async def acknowledge(self, delivery: Delivery) -> None:
        """All of that partition up to and including `delivery`."""
        await self._subscription.acknowledge(delivery)

    async def close(self) -> None:
        """Give the partitions back."""
        await self._subscription.close()

    def _admit(self, memory: PartitionDeduplicator, delivery: Delivery) -> Deduplicated:
        survivors = memory.admit(delivery)
        if survivors.repeats:
            self._repeats.inc(survivors.repeats)
        _REMEMBERED.labels(self._reader, str(delivery.partition)).set(len(memory))
        return without_erased(survivors, self._tombstones)

    async def _memory_for(self, delivery: Delivery) -> PartitionDeduplicator:
        """The partition's memory; made anew when entries between the last delivery and this one may have gone by, or
        come again: an entry delivered twice is no repeat of itself."""
        place = (delivery.log_id, delivery.epoch)
        known_place, memory = self._partitions.get(delivery.partition, (None, None))
        first = delivery.entries[0].position
        if memory is None or known_place != place or (memory.last is not None and first <= memory.last):
            with _WARM_SECONDS.labels(self._reader).time():
                memory = await remember_window(self._bus, self._topic, delivery, self._settings)
            self._partitions[delivery.partition] = (place, memory)
        return memory


async def subscribe_deduplicated(
    bus: Bus,
    topic: Topic,
    name: str,
    *,
    settings: DedupSettings,
    consumer: str = "",
    tombstones: Tombstones | None = None,
) -> DeduplicatedSubscription:
    """Join the ordered subscription `name` and read it without repeats, and without what `tombstones` hide."""
    subscription = await bus.subscribe(topic, name, mode="ordered", consumer=consumer)
    return DeduplicatedSubscription(bus, topic, subscription, settings, name, tombstones)


async def read_deduplicated(
    bus: Bus,
    topic: Topic,
    partition: int,
    *,
    settings: DedupSettings,
    start: Start = "earliest",
    until_now: bool = False,
    tombstones: Tombstones | None = None,
) -> AsyncIterator[Deduplicated]:
    """`Bus.read` without the repeats, the same ones that every subscription drops, wherever it starts."""
    memory = PartitionDeduplicator(settings) if start == "earliest" else None
    reading = bus.read(topic, partition, start=start, until_now=until_now)
    async with aclosing(cast("AsyncGenerator[Delivery, None]", reading)) as deliveries:
        async for delivery in deliveries:
            if memory is None:
                memory = await remember_window(bus, topic, delivery, settings)
            yield without_erased(memory.admit(delivery), tombstones)


def without_erased(survivors: Deduplicated, tombstones: Tombstones | None) -> Deduplicated:
    """`survivors` without the events of erased visitors."""
    if tombstones is None or not tombstones:
        return survivors
    kept = [place for place, event in enumerate(survivors.events) if not tombstones.hides(event)]
    if len(kept) == len(survivors.events):
        return survivors
    tombstones.count_hidden(len(survivors.events) - len(kept))
    return msgspec.structs.replace(
        survivors,
        entries=[survivors.entries[place] for place in kept],
        events=[survivors.events[place] for place in kept],
    )


async def remember_window(bus: Bus, topic: Topic, delivery: Delivery, settings: DedupSettings) -> PartitionDeduplicator:
    """The memory of a reader that had been there all along, just before `delivery`."""
    memory = PartitionDeduplicator(settings)
    first = delivery.entries[0].position
    start_ms = max(0, delivery.accepted_at_ms - settings.window_ms - settings.clock_slack_ms)
    reading = bus.read(topic, delivery.partition, start=start_ms, until_now=True)
    async with aclosing(cast("AsyncGenerator[Delivery, None]", reading)) as earlier:
        async for past in earlier:
            entries = [entry for entry in past.entries if entry.position < first]
            memory.remember(entries, accepted_at_ms=past.accepted_at_ms)
            if past.last >= first:
                break
    return memory


class _Identified(msgspec.Struct, gc=False):
    message_id: str


_identified_decoder = msgspec.json.Decoder(_Identified)


def _hash_of(payload: bytes | None) -> int | None:
    """The hash of the id alone, read in a third of the time of the whole event."""
    try:
        return id_hash(_identified_decoder.decode(payload or b"").message_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode(payload: bytes | None) -> Event | str:
    """The event, or why it is none."""
    if payload is None:
        return "a deletion, which a stream does not hold"
    try:
        event = decode_event(payload)
        # Every reader turns the key into bytes; a pattern in the struct would cost half a microsecond an event.
        if len(bytes.fromhex(event.visitor_key)) != VISITOR_KEY_BYTES:
            return "a visitor_key that is not 32 hex digits"
        return event
    except (ValueError, RecursionError) as error:  # not hexadecimal, not UTF-8, not an event
        return str(error)
