"""Ordered reading of the embedded bus: a stream a partition, read from a cursor by the holder of a lease."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from ingest.bus.contract import Delivery, Entry
from ingest.bus.embedded_client import LogChangedError, ValkeyLink
from ingest.bus.embedded_keys import position_of, split_id, stream_key
from ingest.bus.leases import Leases
from ingest.bus.metrics import UNDECODABLE
from ingest.bus.packs import NotAPackError, PackCodec
from ingest.errors import BusError, BusUnavailableError
from ingest.task_ending import end_tasks
from ingest.topics import Topic

_ADAPTER = "embedded"

# A read in progress does not see partitions taken meanwhile; it ends so often to look.
_BLOCK_MS_MAX = 250
# Where the broker does not answer, the caller's loop is slowed down to this.
_PAUSE_S = 0.1

Fields = dict[bytes, bytes]


class _Fetched(msgspec.Struct, frozen=True):
    partition: int
    fence: int
    message_id: bytes
    fields: Fields


class StreamHandle(msgspec.Struct, frozen=True):
    """What `acknowledge` needs of a delivery."""

    fence: int
    message_id: bytes


def decode_entries(topic: Topic, message_id: bytes, fields: Fields, codec: PackCodec) -> tuple[Entry, ...]:
    """The entries of one message; none when it is not one of ours (counted)."""
    if topic.kind != "stream":
        return (Entry(fields.get(b"k", b""), fields.get(b"p"), int(fields.get(b"t", b"0")), position_of(message_id)),)
    try:
        found = codec.decode(fields.get(b"d", b""))
    except NotAPackError:
        UNDECODABLE.labels(_ADAPTER).inc()
        return ()
    return tuple(Entry(e.k, bytes(e.p), e.t, position_of(message_id, i)) for i, e in enumerate(found))


class OrderedSubscription:
    """Keeps `contract.Subscription` in the mode `ordered`."""

    def __init__(
        self, link: ValkeyLink, topic: Topic, leases: Leases, *, rejoin: Callable[[Leases], Awaitable[None]]
    ) -> None:
        self._link = link
        self._topic = topic
        self._leases = leases
        self._rejoin = rejoin
        self._codec = PackCodec()
        self._reader = link.reader()
        self._fetched: deque[_Fetched] = deque()
        self._entries_a_pack = 1.0
        self._tending = asyncio.create_task(self._tend())

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Delivery]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            try:
                if not self._leases.valid:
                    await self._renew()
                ready = self._take(entries_max)
                left_ms = int((deadline_s - time.monotonic()) * 1000)
                if ready:
                    return ready
                if left_ms <= 0 and wait_ms > 0:
                    return []
                await self._fetch(entries_max, block_ms=max(0, min(left_ms, _BLOCK_MS_MAX)))
            except BusUnavailableError:
                self._leases.invalidate()
                await asyncio.sleep(min(_PAUSE_S, wait_ms / 1000))
                raise
            if wait_ms == 0:
                return self._take(entries_max) if self._leases.valid else []

    async def acknowledge(self, delivery: Delivery) -> None:
        """Committed within `ack_interval_ms`; late ones change nothing."""
        handle = delivery.handle
        if not isinstance(handle, StreamHandle):
            raise BusError(f"wanted a delivery of this subscription, got one with handle {handle!r}")
        self._leases.acknowledge(delivery.partition, handle.fence, handle.message_id)

    async def nack(self, delivery: Delivery, *, delay_ms: int = 0) -> None:
        """There is none in the mode `ordered`."""
        raise BusError("an ordered subscription has no nack: it would break the order; use mode='queue'")

    async def close(self) -> None:
        """Give the partitions back, acknowledgements first."""
        await end_tasks(self._tending)
        with contextlib.suppress(BusError):
            await self._leases.leave()
        await self._reader.close()

    async def _fetch(self, entries_max: int, *, block_ms: int) -> None:
        held = list(self._leases.held.values())
        if not held:
            await asyncio.sleep(block_ms / 1000)
            return
        count = entries_max / (self._entries_a_pack * len(held))
        packs = max(1, min(int(count), self._link.settings.receive_packs_max))
        keys = [stream_key(self._topic, h.partition) for h in held]
        block: tuple[object, ...] = ("BLOCK", block_ms) if block_ms > 0 else ()
        args = ("COUNT", packs, *block, "STREAMS", *keys, *(h.read_id for h in held))
        reply = await self._reader.ask("XREAD", *args)
        by_key = dict(zip(keys, held, strict=True))
        # Round robin over the partitions, so that a long backlog in one does not starve the others.
        columns = [[(by_key[key], message) for message in messages] for key, messages in streams_of(reply)]
        for holder, (message_id, fields) in _interleaved(columns):
            holder.read_id = message_id
            self._fetched.append(_Fetched(holder.partition, holder.fence, message_id, fields))

    def _take(self, entries_max: int) -> list[Delivery]:
        ready: list[Delivery] = []
        room = entries_max
        while self._fetched and (room > 0 or not ready):
            found = self._fetched.popleft()
            if not self._leases.holds(found.partition, found.fence):
                continue
            entries = decode_entries(self._topic, found.message_id, found.fields, self._codec)
            if not entries:
                continue
            self._entries_a_pack += (len(entries) - self._entries_a_pack) / 16
            room -= len(entries)
            ready.append(
                Delivery(
                    topic=self._topic.name,
                    partition=found.partition,
                    log_id=self._leases.log_id,
                    accepted_at_ms=split_id(found.message_id)[0],
                    entries=entries,
                    epoch=found.fence,
                    handle=StreamHandle(found.fence, found.message_id),
                )
            )
        return ready

    async def _renew(self) -> None:
        try:
            await self._leases.renew()
        except LogChangedError:
            await self._rejoin(self._leases)

    async def _tend(self) -> None:
        """Commit acknowledgements and renew the leases for as long as the subscription is open."""
        settings = self._link.settings
        renew_s = settings.lease_ms / 3000
        renewed_s = time.monotonic()
        while True:
            await asyncio.sleep(min(settings.ack_interval_ms / 1000, renew_s))
            # The broker's absence is told by `receive`; here it only means trying again.
            with contextlib.suppress(BusError):
                await self._leases.commit()
                if time.monotonic() - renewed_s >= renew_s:
                    await self._renew()
                    renewed_s = time.monotonic()


def streams_of(reply: Any) -> Iterable[tuple[bytes, list[tuple[bytes, Fields]]]]:
    """XREAD's reply as (stream, messages) pairs, whatever the protocol version made of it."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [(key, chunks[0]) for key, chunks in reply.items()]
    return [(key, messages) for key, messages in reply]


def _interleaved(columns: list[list[Any]]) -> Iterable[Any]:
    depth = max((len(column) for column in columns), default=0)
    for row in range(depth):
        for column in columns:
            if row < len(column):
                yield column[row]
