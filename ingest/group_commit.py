"""Publish what many requests hold as one pack a partition: whatever is pending when the previous publish returns."""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge, Histogram

from ingest.bus.contract import Bus, Published, Record
from ingest.errors import BusError, BusUnavailableError, IngestError
from ingest.topics import Topic

_PUBLISH_SECONDS = Histogram(
    "afterclick_ingest_publish_seconds",
    "From handing a group to the bus until it has it durably",
    ["topic"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1, 5, 30),
)
_PUBLISH_RECORDS = Histogram(
    "afterclick_ingest_publish_records",
    "Records in one group",
    ["topic"],
    buckets=(1, 4, 16, 64, 256, 1024, 4096),
)
_PENDING = Gauge(
    "afterclick_ingest_pending_records", "Records waiting for the bus", ["topic"], multiprocess_mode="livesum"
)
_OVERLOADED = Counter("afterclick_ingest_overloaded_total", "Requests turned away at the pending limit", ["topic"])

_log = structlog.get_logger()


class OverloadedError(IngestError):
    """More is pending than may wait; nothing of the request was published."""


class GroupCommit:
    """One publish in flight a topic, so that what one visitor sends in order stays in order.

    A request that gives up (is cancelled) before its group is taken is not published at all.
    """

    def __init__(self, bus: Bus, topic: Topic, *, pending_records_max: int, publish_records_max: int) -> None:
        self._bus = bus
        self._topic = topic
        self._pending_records_max = pending_records_max
        self._publish_records_max = publish_records_max
        self._pending: deque[tuple[Sequence[Record], asyncio.Future[list[Published]]]] = deque()
        self._pending_records = 0
        self._flusher: asyncio.Task[None] | None = None
        self._seconds = _PUBLISH_SECONDS.labels(topic.name)
        self._group_sizes = _PUBLISH_RECORDS.labels(topic.name)
        self._gauge = _PENDING.labels(topic.name)

    async def publish(self, records: Sequence[Record]) -> list[Published]:
        """One verdict a record, in order.

        Raises:
            OverloadedError: `pending_records_max` would be passed.
        """
        if self._pending_records + len(records) > self._pending_records_max:
            _OVERLOADED.labels(self._topic.name).inc()
            raise OverloadedError(f"{self._pending_records} records wait for the bus, more may not")
        future: asyncio.Future[list[Published]] = asyncio.get_running_loop().create_future()
        self._pending.append((records, future))
        self._pending_records += len(records)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await future

    async def close(self) -> None:
        """Wait until what is pending has its verdicts."""
        if self._flusher is not None:
            await self._flusher

    async def _flush(self) -> None:
        # The requests that became ready in the same turn of the loop join the first group.
        await asyncio.sleep(0)
        while self._pending:
            group = self._take()
            records = [record for records, _ in group for record in records]
            self._gauge.set(self._pending_records)
            if records:
                _hand_out(group, await self._published(records))

    def _take(self) -> list[tuple[Sequence[Record], asyncio.Future[list[Published]]]]:
        group, count = [], 0
        while self._pending and (count == 0 or count + len(self._pending[0][0]) <= self._publish_records_max):
            records, future = self._pending.popleft()
            self._pending_records -= len(records)
            if not future.done():
                group.append((records, future))
                count += len(records)
        return group

    async def _published(self, records: list[Record]) -> list[Published]:
        self._group_sizes.observe(len(records))
        try:
            with self._seconds.time():
                return await self._bus.publish(self._topic, records)
        except BusError as error:
            return [error] * len(records)
        except Exception as error:
            # The loop that serves every request: whatever an adapter throws, the requests get a 503 and the next
            # group its chance.
            _log.exception("publish failed", topic=self._topic.name, records=len(records))
            return [BusUnavailableError(f"publish to {self._topic.name} failed: {error}")] * len(records)


def _hand_out(group: list[tuple[Sequence[Record], asyncio.Future[list[Published]]]], verdicts: list[Published]) -> None:
    start = 0
    for records, future in group:
        end = start + len(records)
        if not future.done():
            future.set_result(verdicts[start:end])
        start = end
