"""The embedded bus: Valkey Streams on one machine, no Java. What production runs is Pulsar."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from ingest.bus.contract import Below, Delivery, Mode, Published, Record, Start, Subscription, Table
from ingest.bus.embedded_client import LogChangedError, ValkeyLink
from ingest.bus.embedded_publish import EmbeddedPublisher
from ingest.bus.embedded_queue import QueueSubscription, make_group
from ingest.bus.embedded_read import PartitionReader
from ingest.bus.embedded_stream import OrderedSubscription
from ingest.bus.embedded_table import EmbeddedTable
from ingest.bus.leases import Leases
from ingest.bus.settings import BusSettings
from ingest.errors import BusError
from ingest.task_ending import end_tasks
from ingest.topics import Topic, dead_letters

# How often what is past its retention is trimmed, by whichever process comes first.
_EXPIRE_S = 10.0
_LOG_IDS = 2**63


class _Known(msgspec.Struct, frozen=True):
    topic: Topic
    log_id: int
    partitions: int


class EmbeddedBus:
    """Keeps `contract.Bus` on one Valkey instance (`appendfsync always`, `noeviction`)."""

    def __init__(self, link: ValkeyLink, below: Below | None) -> None:
        self._link = link
        self._below = below
        self._publisher = EmbeddedPublisher(link)
        self._known: dict[str, _Known] = {}
        self._partitions_wanted = 1
        self._expiring = asyncio.create_task(self._expire())

    @classmethod
    async def connect(
        cls, url: str, settings: BusSettings | None = None, *, below: Below | None = None
    ) -> "EmbeddedBus":
        """`url`: `valkey://host:port` or `unix:///path`. `below`: where `read` goes on under what was trimmed.

        Raises:
            BusUnavailableError: nobody answers there.
        """
        link = ValkeyLink(url, settings or BusSettings())
        try:
            await link.load()
        except BusError:
            await link.close()
            raise
        return cls(link, below)

    async def ensure(self, topics: Sequence[Topic], *, partitions: int) -> None:
        """As the contract says; the number of partitions of a topic that exists stays."""
        self._partitions_wanted = partitions
        for topic in topics:
            await self._ensure(topic, partitions if topic.partitioned else 1)

    async def partitions(self, topic: Topic) -> int:
        """As the contract says."""
        return (await self._place(topic)).partitions

    async def log_id(self, topic: Topic) -> int:
        """As the contract says."""
        return (await self._look_up(topic)).log_id

    async def publish(self, topic: Topic, records: Sequence[Record], *, delay_ms: int = 0) -> list[Published]:
        """As the contract says."""
        if not records:
            return []
        if delay_ms and topic.kind != "queue":
            return [BusError(f"only queues delay; {topic.name} is a {topic.kind}")] * len(records)
        try:
            known = await self._place(topic)
            return await self._publish(known, records, delay_ms)
        except LogChangedError:
            pass
        except BusError as error:
            return [error] * len(records)
        try:
            # The data was wiped under us: make the topic again, as at any start.
            await self._ensure_again(topic)
            return await self._publish(self._known[topic.name], records, delay_ms)
        except BusError as error:
            return [error] * len(records)

    async def subscribe(self, topic: Topic, name: str, *, mode: Mode, consumer: str = "") -> Subscription:
        """As the contract says."""
        known = await self._place(topic)
        token = f"{re.sub(r'[^A-Za-z0-9._-]', '_', consumer) or 'consumer'}-{secrets.token_hex(6)}"
        if mode == "queue":
            return await self._subscribe_queue(topic, name, token)
        leases = Leases(self._link, topic, name, token)
        await leases.join(known.partitions)

        async def rejoin(leases: Leases) -> None:
            await self._ensure_again(topic)
            await leases.join(self._known[topic.name].partitions)

        return OrderedSubscription(self._link, topic, leases, rejoin=rejoin)

    async def unsubscribe(self, topic: Topic, name: str) -> None:
        """As the contract says."""
        await self._link.call("bus_forget", [], topic.name, name)

    async def read(
        self, topic: Topic, partition: int, *, start: Start = "earliest", until_now: bool = False
    ) -> AsyncIterator[Delivery]:
        """As the contract says; below what was trimmed it goes on in the archive, if there is one."""
        reader = PartitionReader(self._link, topic, partition, self._below)
        async with contextlib.aclosing(reader.deliveries(start, until_now=until_now)) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def table(self, topic: Topic) -> Table:
        """As the contract says."""
        await self._place(topic)
        table = EmbeddedTable(self._link, topic)
        await table.load()
        return table

    async def alive(self) -> bool:
        """As the contract says."""
        return await self._link.alive()

    async def close(self) -> None:
        """As the contract says."""
        await end_tasks(self._expiring)
        await self._link.close()

    async def _subscribe_queue(self, topic: Topic, name: str, token: str) -> QueueSubscription:
        async def rejoin() -> None:
            await self._ensure_again(topic)
            await self._ensure(dead_letters(topic, name), 1)
            await make_group(self._link, topic, name)

        await self._ensure(dead_letters(topic, name), 1)
        await make_group(self._link, topic, name)
        return QueueSubscription(self._link, topic, name, token, rejoin=rejoin)

    async def _publish(self, known: _Known, records: Sequence[Record], delay_ms: int) -> list[Published]:
        return await self._publisher.publish(known.topic, known.log_id, known.partitions, records, delay_ms=delay_ms)

    async def _ensure(self, topic: Topic, partitions: int) -> None:
        definition = msgspec.json.encode(
            {
                "kind": topic.kind,
                "partitions": partitions,
                "retention_ms": topic.retention_ms or 0,
                "archived": topic.archived,
                "redeliveries_max": topic.redeliveries_max,
            }
        )
        fresh = secrets.randbelow(_LOG_IDS - 1) + 1
        log_id, made_with = await self._link.call("bus_ensure", [], topic.name, definition, fresh)
        self._known[topic.name] = _Known(topic, int(log_id), int(made_with))

    async def _ensure_again(self, topic: Topic) -> None:
        known = self._known.get(topic.name)
        await self._ensure(topic, known.partitions if known else self._partitions_wanted if topic.partitioned else 1)

    async def _place(self, topic: Topic) -> _Known:
        known = self._known.get(topic.name)
        return known if known is not None else await self._look_up(topic)

    async def _look_up(self, topic: Topic) -> _Known:
        found: Any = await self._link.call("bus_describe", [], topic.name)
        if not found:
            raise BusError(f"topic {topic.name} is not there; call `ensure` first, as `afterclick up` does")
        self._known[topic.name] = _Known(topic, int(found[0]), int(found[1]))
        return self._known[topic.name]

    async def _expire(self) -> None:
        more = False
        while True:
            await asyncio.sleep(0 if more else _EXPIRE_S)
            more = False
            with contextlib.suppress(BusError):
                more = int(await self._link.call("bus_expire", [])) > 0
