"""A work queue of Pulsar: a Shared subscription with delays, negative acknowledgement and dead letters."""

import time
from typing import Any

from ingest.bus.contract import Delivery, Record
from ingest.bus.metrics import STALE_ACKS
from ingest.bus.packs import PackCodec
from ingest.bus.pulsar_client import asked
from ingest.bus.pulsar_messages import ADAPTER, build_single, decode_entries
from ingest.bus.pulsar_publish import PulsarPublisher
from ingest.bus.pulsar_subscription import ConsumerSet, PartitionConsumer, PulsarHandle
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.topics import Topic, dead_letters

# A delayed redelivery is a new message, which carries how often it came before and for whom it comes again.
_TIMES = "afterclick_redeliveries"
_FOR = "afterclick_subscription"


class PulsarQueueSubscription:
    """Keeps `contract.Subscription` in the mode `queue`.

    Pulsar's own negative acknowledgement has one delay per consumer; a delay of the caller's choice is a new message
    with a delivery time, sent before the old one is acknowledged. Dead letters are ours for the same reason: the
    client's policy does not see those redeliveries.
    """

    def __init__(
        self,
        consumers: ConsumerSet,
        publisher: PulsarPublisher,
        topic: Topic,
        name: str,
        settings: BusSettings,
    ) -> None:
        self._consumers = consumers
        self._publisher = publisher
        self._topic = topic
        self._name = name
        self._settings = settings
        self._codec = PackCodec()

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Delivery]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            ready = await self._take(entries_max)
            if ready or not await self._consumers.wait(deadline_s):
                return ready

    async def acknowledge(self, delivery: Delivery) -> None:
        """As the contract says."""
        await _acknowledge(_handle_of(delivery))

    async def nack(self, delivery: Delivery, *, delay_ms: int = 0) -> None:
        """As the contract says.

        Raises:
            BusUnavailableError: the broker does not answer; the delivery comes again when its consumer is gone.
        """
        handle = _handle_of(delivery)
        if delivery.redelivery_count >= self._topic.redeliveries_max:
            await self._bury(delivery, handle)
        elif delay_ms > 0:
            properties = {_TIMES: str(delivery.redelivery_count + 1), _FOR: self._name}
            message = build_single(_record_of(delivery), properties, delay_ms=delay_ms)
            await self._publisher.send(self._topic, 0, message, self._deadline_s())
            await _acknowledge(handle)
        else:
            # It only takes a note, so it does not block; the client's asynchronous one never calls back.
            handle.consumer.negative_acknowledge(handle.message)

    async def close(self) -> None:
        """As the contract says."""
        await self._consumers.close()

    async def _take(self, entries_max: int) -> list[Delivery]:
        ready: list[Delivery] = []
        for consumer in self._consumers.in_turn():
            while len(ready) < entries_max:
                message = consumer.take()
                if message is None:
                    break
                delivery = self._delivery(consumer, message)
                if message.properties().get(_FOR, self._name) != self._name:
                    # Another subscription's second try.
                    await _acknowledge(_handle_of(delivery))
                elif delivery.redelivery_count > self._topic.redeliveries_max:
                    await self._bury(delivery, _handle_of(delivery))
                else:
                    ready.append(delivery)
        return ready

    def _delivery(self, consumer: PartitionConsumer, message: Any) -> Delivery:
        return Delivery(
            topic=self._topic.name,
            partition=consumer.partition,
            log_id=consumer.log_id,
            accepted_at_ms=message.publish_timestamp(),
            entries=decode_entries(self._topic, message, self._codec),
            epoch=consumer.epoch,
            redelivery_count=message.redelivery_count() + int(message.properties().get(_TIMES, 0)),
            handle=PulsarHandle(consumer.consumer, message),
        )

    async def _bury(self, delivery: Delivery, handle: PulsarHandle) -> None:
        message = build_single(_record_of(delivery))
        await self._publisher.send(dead_letters(self._topic, self._name), 0, message, self._deadline_s())
        await _acknowledge(handle)

    def _deadline_s(self) -> float:
        return time.monotonic() + self._settings.send_deadline_ms / 1000


async def _acknowledge(handle: PulsarHandle) -> None:
    try:
        await asked("take an acknowledgement", handle.consumer.acknowledge_async, handle.message)
    except BusUnavailableError:
        STALE_ACKS.labels(ADAPTER).inc()


def _record_of(delivery: Delivery) -> Record:
    entry = delivery.entries[0]
    return Record(entry.key, entry.payload, entry.event_time_ms)


def _handle_of(delivery: Delivery) -> PulsarHandle:
    if not isinstance(delivery.handle, PulsarHandle):
        raise BusError(f"wanted a delivery of this subscription, got one with handle {delivery.handle!r}")
    return delivery.handle
