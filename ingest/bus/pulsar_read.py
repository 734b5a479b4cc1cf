"""Replay one partition of Pulsar with a reader, which leaves no trace at the broker; the compacted log as a table."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import _pulsar

from ingest.bus.contract import Delivery, Entry, Position, Start
from ingest.bus.packs import PackCodec
from ingest.bus.pulsar_address import PulsarAddress
from ingest.bus.pulsar_client import NO_SCHEMA, Pump, asked, closed
from ingest.bus.pulsar_messages import decode_entries, message_id_of, position_of
from ingest.bus.settings import BusSettings
from ingest.errors import BusUnavailableError
from ingest.topics import Topic

_LOOK_S = 0.5
_LOST_S = 2.0
_PAUSE_S = 0.1
_HANDOVER_S = 0.05

Place = tuple[int, int, int]
"""Ledger, entry, place in the batch."""


class PartitionReader:
    """One reader of one partition; `next` gives its messages, and the reader is made again when its broker was away."""

    def __init__(
        self,
        client: Any,
        address: PulsarAddress,
        topic: Topic,
        partition: int,
        settings: BusSettings,
        *,
        compacted: bool,
    ) -> None:
        self._client = client
        self._path = f"persistent://{address.path(topic, partition)}"
        self._settings = settings
        self._compacted = compacted
        self._wake = asyncio.Event()
        self._reader: Any = None
        self._pump: Pump | None = None
        self._lost_since_s: float | None = None
        self._after: Position | None = None

    async def open(self, start: Start) -> None:
        """Begin at `start`; at a position's own message, of which the caller skips what it has.

        Raises:
            BusError: the broker does not answer, or refuses.
        """
        begin = _pulsar.MessageId.latest if start == "latest" else _pulsar.MessageId.earliest
        if isinstance(start, Position):
            begin, self._after = message_id_of(start), start
        configuration = _pulsar.ReaderConfiguration()
        configuration.schema(NO_SCHEMA)
        configuration.receiver_queue_size(self._settings.receive_packs_max)
        configuration.start_message_id_inclusive(isinstance(start, Position))
        configuration.read_compacted(self._compacted)
        create = self._client.create_reader_async_v2
        reader = await asked("open a reader", create, self._path, begin, configuration)
        if isinstance(start, int):
            await asked("seek", reader.seek_async, start)
        self._reader, self._pump, self._lost_since_s = reader, Pump(reader.read_next_async, self._wake), None

    def take(self) -> Any | None:
        """The next message at hand that was not given before."""
        self._wake.clear()
        while self._pump is not None:
            message = self._pump.take()
            if message is None:
                return None
            # After a reconnect the reader may repeat itself; within a position's own message the caller decides.
            place = position_of(message.message_id(), 0xFFFF)
            if self._after is None or place > self._after:
                self._after = place
                return message
        return None

    async def wait(self, wait_s: float) -> None:
        """Until something may have come, or `wait_s` has passed.

        Raises:
            BusUnavailableError: the broker has been away, and a new reader could not be made.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            await self._mend()

    async def exhausted(self) -> bool:
        """Is there nothing to read now?

        Raises:
            BusUnavailableError: the broker does not answer.
        """
        if await self._available():
            return False
        # It counts as read once the client hands it over, which may be a moment before it reaches us.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HANDOVER_S):
                await self._wake.wait()
        return not self._pump or self._pump.idle

    async def _available(self) -> bool:
        """Ask the client; just after a seek it reconnects, and for a moment it cannot say."""
        deadline_s = time.monotonic() + self._settings.send_deadline_ms / 1000
        while True:
            try:
                return bool(await asked("say what is there", self._reader.has_message_available_async))
            except BusUnavailableError:
                if time.monotonic() >= deadline_s:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """Let go of the reader."""
        if self._reader is not None:
            reader, self._reader, self._pump = self._reader, None, None
            await closed(reader)

    async def _mend(self) -> None:
        if self._reader is not None and self._reader.is_connected():
            self._lost_since_s = None
            return
        now_s = time.monotonic()
        self._lost_since_s = self._lost_since_s or now_s
        if now_s - self._lost_since_s >= _LOST_S:
            await self.close()
            await self.open(self._after or "earliest")


async def deliveries(
    reader: PartitionReader, topic: Topic, partition: int, log_id: int, start: Start, until: Place | None
) -> AsyncGenerator[Delivery, None]:
    """What `reader` gives from `start`, up to and with the message `until`, or for ever.

    Raises:
        BusUnavailableError: the broker does not answer; read again after the last position seen.
    """
    codec = PackCodec()
    while True:
        message = reader.take()
        if message is None:
            # `until` may have been trimmed in the meantime: then there is nothing more to come.
            if until is not None and await reader.exhausted():
                return
            await reader.wait(_LOOK_S)
            continue
        if until is not None and _place(message) > until:
            return
        entries = _wanted(decode_entries(topic, message, codec), message, start)
        if entries:
            yield Delivery(
                topic=topic.name,
                partition=partition,
                log_id=log_id,
                accepted_at_ms=message.publish_timestamp(),
                entries=entries,
            )
        if until is not None and _place(message) >= until:
            return


class PulsarTable:
    """Keeps `contract.Table`: the compacted topic, then its changes."""

    def __init__(self, reader: PartitionReader, topic: Topic) -> None:
        self._reader = reader
        self._topic = topic
        self._codec = PackCodec()
        self._latest: dict[bytes, bytes] = {}
        self._unseen: list[Entry] = []

    async def load(self) -> None:
        """Read what is there.

        Raises:
            BusUnavailableError: the broker does not answer.
        """
        await self._reader.open("earliest")
        while True:
            if self._take_in():
                continue
            if await self._reader.exhausted():
                return
            await self._reader.wait(_LOOK_S)

    def items(self) -> dict[bytes, bytes]:
        """As the contract says."""
        return dict(self._latest)

    async def changes(self, *, wait_ms: int) -> list[Entry]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while not self._take_in() and not self._unseen:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                await self._reader.wait(min(left_s, _LOOK_S))
            except BusUnavailableError:
                await asyncio.sleep(min(_PAUSE_S, left_s))
                raise
        unseen, self._unseen = self._unseen, []
        return unseen

    async def close(self) -> None:
        """As the contract says."""
        await self._reader.close()

    def _take_in(self) -> bool:
        took = False
        while (message := self._reader.take()) is not None:
            took = True
            for entry in decode_entries(self._topic, message, self._codec):
                if entry.payload is None:
                    self._latest.pop(entry.key, None)
                else:
                    self._latest[entry.key] = entry.payload
                self._unseen.append(entry)
        return took


def _place(message: Any) -> Place:
    message_id = message.message_id()
    return message_id.ledger_id(), message_id.entry_id(), max(0, message_id.batch_index())


def _wanted(entries: tuple[Entry, ...], message: Any, start: Start) -> tuple[Entry, ...]:
    if isinstance(start, Position):
        return tuple(entry for entry in entries if entry.position > start)
    if isinstance(start, int) and message.publish_timestamp() < start:
        return ()
    return entries
