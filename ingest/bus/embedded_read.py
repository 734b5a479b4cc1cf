"""Replay one partition of the embedded bus, and go on in the archive below what was trimmed."""

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from ingest.bus.contract import Below, Delivery, Position, Start
from ingest.bus.embedded_client import ValkeyLink
from ingest.bus.embedded_keys import FIRST_ID, LOGS, TRIMMED, id_of, position_of, split_id, stream_key
from ingest.bus.embedded_stream import Fields, decode_entries, streams_of
from ingest.bus.metrics import GAPS
from ingest.bus.packs import PackCodec
from ingest.topics import Topic

_ADAPTER = "embedded"
_PACKS_A_READ = 128
_BLOCK_MS = 250


class PartitionReader:
    """One pass over a partition, beginning at `start`; `deliveries` yields until the end or for ever."""

    def __init__(self, link: ValkeyLink, topic: Topic, partition: int, below: Below | None) -> None:
        self._reader = link.reader()
        self._topic = topic
        self._partition = partition
        self._key = stream_key(topic, partition)
        self._below = below
        self._codec = PackCodec()
        self._epoch = 0

    async def deliveries(self, start: Start, *, until_now: bool) -> AsyncGenerator[Delivery, None]:
        """As `contract.Bus.read`.

        Raises:
            BusUnavailableError: the broker does not answer; read again after the last position seen.
        """
        try:
            log_id = int(await self._reader.ask("HGET", LOGS, self._topic.name) or 0)
            newest = await self._newest_id()
            after = newest if start == "latest" else _id_before(start)
            within = start if isinstance(start, Position) else None
            asked: Start = start
            wait = False
            while True:
                trimmed, messages = await self._next(after, wait=wait)
                wait = not until_now and not messages
                if split_id(trimmed) > split_id(after):
                    async for delivery in self._from_below(asked, trimmed):
                        yield delivery
                    after = trimmed
                    asked, within = position_of(trimmed, 2**32 - 1), None
                for message_id, fields in messages:
                    if until_now and split_id(message_id) > split_id(newest):
                        return
                    after = message_id
                    found = self._delivery(message_id, fields, log_id, within)
                    if found is not None:
                        asked, within = found.last, None
                        yield found
                if until_now and (not messages or split_id(after) >= split_id(newest)):
                    return
        finally:
            await self._reader.close()

    async def _next(self, after: bytes, *, wait: bool) -> tuple[bytes, list[tuple[bytes, Fields]]]:
        """How far the stream is trimmed, and the messages after `after`, both of one instant."""
        if wait:
            # Only wakes us: what it returns could be trimmed past `after` before we know how far.
            await self._reader.ask("XREAD", "COUNT", 1, "BLOCK", _BLOCK_MS, "STREAMS", self._key, after)
        trimmed, reply = await self._reader.ask_at_once(
            ("HGET", TRIMMED, self._key), ("XREAD", "COUNT", _PACKS_A_READ, "STREAMS", self._key, after)
        )
        return trimmed or FIRST_ID, [message for _, found in streams_of(reply) for message in found]

    async def _from_below(self, start: Start, trimmed: bytes) -> AsyncIterator[Delivery]:
        self._epoch += 1
        if self._below is None:
            GAPS.labels(_ADAPTER).inc()
            return
        ms, sequence = split_id(trimmed)
        async for delivery in self._below(self._topic, self._partition, start, Position(ms, sequence + 1, 0)):
            yield msgspec.structs.replace(delivery, epoch=self._epoch)

    def _delivery(self, message_id: bytes, fields: Fields, log_id: int, within: Position | None) -> Delivery | None:
        entries = decode_entries(self._topic, message_id, fields, self._codec)
        if within is not None:
            entries = tuple(entry for entry in entries if entry.position > within)
        if not entries:
            return None
        return Delivery(
            topic=self._topic.name,
            partition=self._partition,
            log_id=log_id,
            accepted_at_ms=split_id(message_id)[0],
            entries=entries,
            epoch=self._epoch,
        )

    async def _newest_id(self) -> bytes:
        newest = await self._reader.ask("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        return newest[0][0] if newest else await self._reader.ask("HGET", TRIMMED, self._key) or FIRST_ID


def _id_before(start: Start) -> bytes:
    """The id after which reading begins; a position's own message is read again, for the rest of its pack."""
    if isinstance(start, Position):
        ms, sequence = split_id(id_of(start))
    elif isinstance(start, int):
        ms, sequence = start, 0
    else:
        return FIRST_ID
    if sequence > 0:
        return b"%d-%d" % (ms, sequence - 1)
    return b"%d-%d" % (ms - 1, 2**64 - 1) if ms > 0 else FIRST_ID
