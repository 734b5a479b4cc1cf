"""Ordered reading of Pulsar: a Failover consumer a partition, acknowledged cumulatively."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import _pulsar
import msgspec

from ingest.bus.contract import Delivery, Position
from ingest.bus.metrics import EPOCHS, STALE_ACKS
from ingest.bus.packs import PackCodec
from ingest.bus.pulsar_address import PulsarAddress
from ingest.bus.pulsar_client import NO_SCHEMA, Pump, asked, closed
from ingest.bus.pulsar_messages import ADAPTER, decode_entries, follows, position_of
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.task_ending import end_tasks
from ingest.topics import Topic

# A consumer that lost its broker waits ever longer to reconnect, up to a minute; after this we make a new one.
_LOST_S = 2.0
_LOOK_S = 0.5
_PAUSE_S = 0.1
# A process that stood still for longer may have lost its partitions to another, while messages that the broker had
# sent it before still lie in its buffers. The broker notices within its keep-alive interval: 5 s with our
# configuration, 30 s by default.
_FROZEN_S = 2.0


class PulsarHandle(msgspec.Struct, frozen=True):
    """What `acknowledge` and `nack` need of a delivery."""

    consumer: Any
    message: Any


class ConsumerKind(msgspec.Struct, frozen=True):
    """How a consumer is opened: the subscription, the client's consumer type, this consumer's name, and how to ask for
    the topic's log id."""

    subscription: str
    type: Any
    consumer: str
    log_id: Callable[[], Awaitable[int]]


class PartitionConsumer:
    """One consumer of one topic partition, made again when it stays without a broker."""

    def __init__(
        self, client: Any, path: str, partition: int, kind: ConsumerKind, settings: BusSettings, wake: asyncio.Event
    ) -> None:
        self._client = client
        self._path = path
        self._kind = kind
        self._settings = settings
        self._wake = wake
        self._pump: Pump | None = None
        self._lost_since_s: float | None = None
        self.partition = partition
        self.consumer: Any = None
        self.last: Position | None = None
        self.epoch = 1
        self.log_id = 0

    @property
    def connected(self) -> bool:
        """Is there a broker at the other end now?"""
        return self.consumer is not None and bool(self.consumer.is_connected())

    async def open(self) -> None:
        """Join the subscription; of the log that is there now, for the broker may have been wiped.

        Raises:
            BusError: the broker does not answer, or refuses.
        """
        self.log_id = await self._kind.log_id()
        configuration = _pulsar.ConsumerConfiguration()
        configuration.schema(NO_SCHEMA)
        configuration.consumer_type(self._kind.type)
        configuration.consumer_name(self._kind.consumer)
        configuration.subscription_initial_position(_pulsar.InitialPosition.Earliest)
        configuration.receiver_queue_size(self._settings.receive_packs_max)
        configuration.negative_ack_redelivery_delay_ms(self._settings.ack_interval_ms)
        subscribe = self._client.subscribe_async_v2
        consumer = await asked("open a consumer", subscribe, self._path, self._kind.subscription, configuration)
        self.consumer, self._pump, self._lost_since_s = consumer, Pump(consumer.receive_async, self._wake), None
        self.begin_anew()

    def take(self) -> Any | None:
        """The next message at hand."""
        return self._pump.take() if self._pump is not None else None

    def begin_anew(self) -> None:
        """What comes next may not follow what came last."""
        self.epoch += 1
        self.last = None
        EPOCHS.labels(ADAPTER).inc()

    async def mend(self) -> None:
        """Open another consumer if this one has been without a broker for too long.

        Raises:
            BusError: as `open`.
        """
        if self.connected:
            self._lost_since_s = None
            return
        now_s = time.monotonic()
        self._lost_since_s = self._lost_since_s or now_s
        if now_s - self._lost_since_s >= _LOST_S:
            await self.close()
            await self.open()
            self._wake.set()

    async def close(self) -> None:
        """Leave; what was not acknowledged goes to others."""
        if self.consumer is not None:
            consumer, self.consumer, self._pump = self.consumer, None, None
            await closed(consumer)


class ConsumerSet:
    """The consumers of every partition, taken from in turn, kept connected."""

    def __init__(self, consumers: Sequence[PartitionConsumer], wake: asyncio.Event) -> None:
        self._consumers = list(consumers)
        self._wake = wake
        self._turn = 0
        self._ticked_s = time.monotonic()
        self._mending = asyncio.create_task(self._mend())

    async def wait(self, deadline_s: float) -> bool:
        """Until something may have come, or the deadline (monotonic): then False.

        Raises:
            BusUnavailableError: the deadline passed and no consumer has a broker.
        """
        left_s = deadline_s - time.monotonic()
        if left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
                return True
            except TimeoutError:
                pass
        if not any(consumer.connected for consumer in self._consumers):
            await asyncio.sleep(_PAUSE_S)
            raise BusUnavailableError("Pulsar does not deliver: no consumer is connected; is the broker up?")
        return False

    def in_turn(self) -> list[PartitionConsumer]:
        """Every consumer, another one first each time."""
        self._tick()
        self._wake.clear()
        self._turn = (self._turn + 1) % len(self._consumers)
        return self._consumers[self._turn :] + self._consumers[: self._turn]

    async def close(self) -> None:
        """Close them all."""
        await end_tasks(self._mending)
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))

    async def _mend(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._tick()
            # A broker that is still away is looked for again the next time.
            await asyncio.gather(*(consumer.mend() for consumer in self._consumers), return_exceptions=True)

    def _tick(self) -> None:
        """Begin every partition anew if this process stood still, before anything more is handed out."""
        now_s = time.monotonic()
        if now_s - self._ticked_s > _FROZEN_S:
            for consumer in self._consumers:
                consumer.begin_anew()
        self._ticked_s = now_s


async def open_consumers(
    client: Any, address: PulsarAddress, topic: Topic, partitions: int, kind: ConsumerKind, settings: BusSettings
) -> ConsumerSet:
    """Join `kind.subscription` in every partition.

    Raises:
        BusError: the broker does not answer, or refuses.
    """
    wake = asyncio.Event()
    consumers = [
        PartitionConsumer(client, f"persistent://{address.path(topic, p)}", p, kind, settings, wake)
        for p in range(partitions)
    ]
    try:
        await asyncio.gather(*(consumer.open() for consumer in consumers))
    except BusError:
        await asyncio.gather(*(consumer.close() for consumer in consumers))
        raise
    return ConsumerSet(consumers, wake)


def consumer_name(consumer: str) -> str:
    """A name no other consumer has; partitions are shared out in the order of names."""
    return f"{consumer or 'consumer'}-{secrets.token_hex(6)}"


class PulsarOrderedSubscription:
    """Keeps `contract.Subscription` in the mode `ordered`."""

    def __init__(self, consumers: ConsumerSet, topic: Topic) -> None:
        self._consumers = consumers
        self._topic = topic
        self._codec = PackCodec()

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Delivery]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            ready = self._take(entries_max)
            if ready or not await self._consumers.wait(deadline_s):
                return ready

    async def acknowledge(self, delivery: Delivery) -> None:
        """Sent within the client's 100 ms; one of a consumer that lost its broker changes nothing."""
        handle = delivery.handle
        if not isinstance(handle, PulsarHandle):
            raise BusError(f"wanted a delivery of this subscription, got one with handle {handle!r}")
        try:
            await asked("take an acknowledgement", handle.consumer.acknowledge_cumulative_async, handle.message)
        except BusUnavailableError:
            STALE_ACKS.labels(ADAPTER).inc()

    async def nack(self, delivery: Delivery, *, delay_ms: int = 0) -> None:
        """There is none in the mode `ordered`."""
        raise BusError("an ordered subscription has no nack: it would break the order; use mode='queue'")

    async def close(self) -> None:
        """As the contract says."""
        await self._consumers.close()

    def _take(self, entries_max: int) -> list[Delivery]:
        ready: list[Delivery] = []
        room = entries_max
        waiting = self._consumers.in_turn()
        while waiting and room > 0:
            still = []
            for consumer in waiting:
                message = consumer.take() if room > 0 else None
                if message is None:
                    continue
                still.append(consumer)
                delivery = self._delivery(consumer, message)
                if delivery is not None:
                    room -= len(delivery.entries)
                    ready.append(delivery)
            waiting = still
        return ready

    def _delivery(self, consumer: PartitionConsumer, message: Any) -> Delivery | None:
        first = position_of(message.message_id())
        if consumer.last is not None and not follows(consumer.last, first):
            consumer.begin_anew()
        consumer.last = first
        entries = decode_entries(self._topic, message, self._codec)
        if not entries:
            return None
        return Delivery(
            topic=self._topic.name,
            partition=consumer.partition,
            log_id=consumer.log_id,
            accepted_at_ms=message.publish_timestamp(),
            entries=entries,
            epoch=consumer.epoch,
            redelivery_count=message.redelivery_count(),
            handle=PulsarHandle(consumer.consumer, message),
        )
