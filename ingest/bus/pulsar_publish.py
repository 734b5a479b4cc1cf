"""Publish to Pulsar: one producer a partition, every result looked at, nothing waits past the send deadline."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import _pulsar

from ingest.bus.contract import Published, Record
from ingest.bus.metrics import PUBLISHED_BYTES
from ingest.bus.packs import PackCodec
from ingest.bus.publishing import Verdicts, fit_places, packs_of
from ingest.bus.pulsar_address import PulsarAddress
from ingest.bus.pulsar_client import NO_SCHEMA, asked, closed
from ingest.bus.pulsar_messages import ADAPTER, build_pack, build_single, position_of
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.topics import Topic

_BATCH_MESSAGES_MAX = 1_000
_BATCH_DELAY_MS = 1


class PulsarPublisher:
    """Holds the producers of one client; makes them when they are first needed."""

    def __init__(self, client: Any, address: PulsarAddress, settings: BusSettings) -> None:
        self._client = client
        self._address = address
        self._settings = settings
        self._codec = PackCodec()
        self._producers: dict[str, asyncio.Future[Any]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(settings.pending_packs_max)

    async def publish(
        self, topic: Topic, partitions: int, records: Sequence[Record], *, delay_ms: int
    ) -> list[Published]:
        """One verdict per record, within the send deadline."""
        verdicts = Verdicts(ADAPTER, len(records))
        places = fit_places(records, verdicts, self._settings, deletions=topic.kind == "table")
        if topic.kind == "stream":
            await self._packs(topic, partitions, records, places, verdicts)
        else:
            await self._singles(topic, records, places, verdicts, delay_ms)
        return verdicts.all()

    async def send(self, topic: Topic, partition: int, message: Any, deadline_s: float) -> Any:
        """Send one message; its id once the broker has it.

        Raises:
            BusUnavailableError: not by `deadline_s` (monotonic).
            BusFullError: the broker's quota is used up.
        """
        path = f"persistent://{self._address.path(topic, partition)}"
        try:
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())), self._room:
                producer = await self._producer(path, batched=topic.kind != "queue")
                return await asked("take a message", producer.send_async, message)
        except TimeoutError as error:
            self._drop_if_lost(path)
            deadline_ms = self._settings.send_deadline_ms
            raise BusUnavailableError(f"Pulsar did not take a message within {deadline_ms} ms; is it up?") from error
        except BusError:
            self._drop_if_lost(path)
            raise

    async def close(self) -> None:
        """Flush by closing every producer."""
        opened = [task for task in self._producers.values() if _is_open(task)]
        for task in self._producers.values():
            task.cancel()
        self._producers = {}
        await asyncio.gather(*(closed(task.result()) for task in opened), *self._closing)

    async def _packs(
        self,
        topic: Topic,
        partitions: int,
        records: Sequence[Record],
        places: Sequence[int],
        verdicts: Verdicts,
    ) -> None:
        packs = packs_of(records, places, partitions=partitions, codec=self._codec, settings=self._settings)
        messages = [(pack.partition, build_pack(pack.message)) for pack in packs]
        for pack, outcome in zip(packs, await self._send_all(topic, messages), strict=True):
            if isinstance(outcome, BusError):
                verdicts.refuse(pack.places, outcome)
            else:
                verdicts.give_pack(pack, position_of(outcome))
                PUBLISHED_BYTES.labels(ADAPTER).inc(len(pack.message))

    async def _singles(
        self, topic: Topic, records: Sequence[Record], places: Sequence[int], verdicts: Verdicts, delay_ms: int
    ) -> None:
        messages = [(0, build_single(records[place], delay_ms=delay_ms)) for place in places]
        for place, outcome in zip(places, await self._send_all(topic, messages), strict=True):
            verdicts.give(place, outcome if isinstance(outcome, BusError) else position_of(outcome))

    async def _send_all(self, topic: Topic, messages: Sequence[tuple[int, Any]]) -> list[Any]:
        """Of each (partition, message) its id or its error.

        The deadline counts for so many at a time: a catalogue of 100,000 products takes longer than one message may.
        """
        outcomes: list[Any] = []
        for begin in range(0, len(messages), self._settings.pending_packs_max):
            deadline_s = time.monotonic() + self._settings.send_deadline_ms / 1000
            some = messages[begin : begin + self._settings.pending_packs_max]
            sending = (self.send(topic, partition, message, deadline_s) for partition, message in some)
            outcomes += await asyncio.gather(*sending, return_exceptions=True)
            if isinstance(outcomes[-1], BusUnavailableError):
                # The rest would wait for nothing.
                outcomes += [outcomes[-1]] * (len(messages) - len(outcomes))
                break
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, BusError):
                raise outcome
        return outcomes

    async def _producer(self, path: str, *, batched: bool) -> Any:
        task = self._producers.get(path)
        if task is None or (task.done() and not _is_open(task)):
            configuration = self._configuration(batched)
            task = asked("open a producer", self._client.create_producer_async_v2, path, configuration)
            self._producers[path] = task
        # Shielded: who gives up waiting must not take the producer from the others.
        return await asyncio.shield(task)

    def _configuration(self, batched: bool) -> Any:
        configuration = _pulsar.ProducerConfiguration()
        configuration.schema(NO_SCHEMA)
        configuration.send_timeout_millis(self._settings.send_deadline_ms)
        # With the defaults a burst of 2,000 delivered 1,647. Our own semaphore keeps this queue from ever being full,
        # for a full one blocks the event loop.
        configuration.block_if_queue_full(True)
        configuration.max_pending_messages(2 * self._settings.pending_packs_max)
        configuration.batching_enabled(batched)
        configuration.batching_max_messages(_BATCH_MESSAGES_MAX)
        configuration.batching_max_publish_delay_ms(_BATCH_DELAY_MS)
        return configuration

    def _drop_if_lost(self, path: str) -> None:
        """A producer that lost its broker waits ever longer (up to a minute) to reconnect; a new one tries at once."""
        task = self._producers.get(path)
        if task is not None and _is_open(task) and not task.result().is_connected():
            del self._producers[path]
            closing = asyncio.create_task(closed(task.result()))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _is_open(task: "asyncio.Future[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
