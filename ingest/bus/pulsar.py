"""Apache Pulsar as the bus: what production runs."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import _pulsar

from ingest.bus.contract import Delivery, Mode, Published, Record, Start, Subscription, Table
from ingest.bus.pulsar_address import PulsarAddress, parse_address
from ingest.bus.pulsar_admin import PulsarAdmin
from ingest.bus.pulsar_client import closed, open_client
from ingest.bus.pulsar_publish import PulsarPublisher
from ingest.bus.pulsar_queue import PulsarQueueSubscription
from ingest.bus.pulsar_read import PartitionReader, PulsarTable, deliveries
from ingest.bus.pulsar_subscription import ConsumerKind, PulsarOrderedSubscription, consumer_name, open_consumers
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.topics import Topic, dead_letters


class PulsarBus:
    """Keeps `contract.Bus` on one namespace of a Pulsar."""

    def __init__(self, address: PulsarAddress, admin: PulsarAdmin, client: Any, settings: BusSettings) -> None:
        self._address = address
        self._admin = admin
        self._client = client
        self._settings = settings
        self._publisher = PulsarPublisher(client, address, settings)
        self._partitions: dict[str, int] = {}

    @classmethod
    async def connect(cls, url: str, settings: BusSettings | None = None) -> "PulsarBus":
        """`url`: `pulsar://host:port[/tenant/namespace][?admin=http://host:port]`.

        Raises:
            BusUnavailableError: nobody answers there.
        """
        settings = settings or BusSettings()
        address = parse_address(url)
        admin = PulsarAdmin(address, settings)
        if not await admin.alive():
            await admin.close()
            raise BusUnavailableError(f"no Pulsar answers at {address.admin_url}; start one: afterclick pulsar start")
        return cls(address, admin, open_client(address), settings)

    async def ensure(self, topics: Sequence[Topic], *, partitions: int) -> None:
        """As the contract says; the number of partitions of a topic that exists stays."""
        await self._admin.ensure_namespace()
        for topic in topics:
            await self._admin.ensure_topic(topic, partitions)

    async def partitions(self, topic: Topic) -> int:
        """As the contract says."""
        known = self._partitions.get(topic.name)
        if known is None:
            known = self._partitions[topic.name] = await self._admin.partitions(topic)
        return known

    async def log_id(self, topic: Topic) -> int:
        """As the contract says."""
        return await self._admin.log_id(topic)

    async def publish(self, topic: Topic, records: Sequence[Record], *, delay_ms: int = 0) -> list[Published]:
        """As the contract says."""
        if not records:
            return []
        if delay_ms and topic.kind != "queue":
            return [BusError(f"only queues delay; {topic.name} is a {topic.kind}")] * len(records)
        try:
            partitions = await self.partitions(topic)
        except BusError as error:
            return [error] * len(records)
        return await self._publisher.publish(topic, partitions, records, delay_ms=delay_ms)

    async def subscribe(self, topic: Topic, name: str, *, mode: Mode, consumer: str = "") -> Subscription:
        """As the contract says."""
        partitions = await self.partitions(topic)
        if mode == "queue":
            await self._admin.ensure_topic(dead_letters(topic, name), 1)
        kind = _pulsar.ConsumerType.Shared if mode == "queue" else _pulsar.ConsumerType.Failover
        consumers = await open_consumers(
            self._client,
            self._address,
            topic,
            partitions,
            ConsumerKind(name, kind, consumer_name(consumer), lambda: self.log_id(topic)),
            self._settings,
        )
        if mode == "queue":
            return PulsarQueueSubscription(consumers, self._publisher, topic, name, self._settings)
        return PulsarOrderedSubscription(consumers, topic)

    async def unsubscribe(self, topic: Topic, name: str) -> None:
        """As the contract says."""
        await self._admin.forget(topic, name)

    async def read(
        self, topic: Topic, partition: int, *, start: Start = "earliest", until_now: bool = False
    ) -> AsyncIterator[Delivery]:
        """As the contract says."""
        log_id = await self.log_id(topic)
        until = await self._admin.last_message(topic, partition) if until_now else None
        if until_now and until is None:
            return
        reader = PartitionReader(self._client, self._address, topic, partition, self._settings, compacted=False)
        try:
            await reader.open(start)
            found = deliveries(reader, topic, partition, log_id, start, until)
            async with contextlib.aclosing(found):
                async for delivery in found:
                    yield delivery
        finally:
            await reader.close()

    async def table(self, topic: Topic) -> Table:
        """As the contract says."""
        reader = PartitionReader(self._client, self._address, topic, 0, self._settings, compacted=True)
        table = PulsarTable(reader, topic)
        try:
            await table.load()
        except BusError:
            await table.close()
            raise
        return table

    async def alive(self) -> bool:
        """As the contract says."""
        return await self._admin.alive()

    async def close(self) -> None:
        """As the contract says."""
        await self._publisher.close()
        await closed(self._client)
        await self._admin.close()
