"""A bus that may come later: until the broker answers, publishes get a verdict that says so, and nobody waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog

from ingest.bus.contract import Bus, Delivery, Mode, Published, Record, Start, Subscription, Table
from ingest.errors import BusUnavailableError
from ingest.task_ending import end_tasks
from ingest.topics import Topic

_RETRY_S = 0.2

log = structlog.get_logger()


class LateBus:
    """Keeps the contract of `Bus` from the first moment on; connects in the background, however long it takes.

    A server that starts while the broker is down must answer suggestions all the same.

    Args:
        connect: opens the real bus, its topics made; raises BusUnavailableError while it cannot.
    """

    def __init__(self, connect: Callable[[], Awaitable[Bus]]) -> None:
        self._connect = connect
        self._bus: Bus | None = None
        self._connecting = asyncio.create_task(self._until_connected(), name="connect-bus")

    async def connected(self) -> None:
        """Wait until the broker has answered.

        Raises:
            BusError: it never can be reached so (a bad address, a topic made otherwise).
        """
        await asyncio.shield(self._connecting)

    async def ensure(self, topics: Sequence[Topic], *, partitions: int) -> None:
        """See the contract."""
        await self._there().ensure(topics, partitions=partitions)

    async def partitions(self, topic: Topic) -> int:
        """See the contract."""
        return await self._there().partitions(topic)

    async def log_id(self, topic: Topic) -> int:
        """See the contract."""
        return await self._there().log_id(topic)

    async def publish(self, topic: Topic, records: Sequence[Record], *, delay_ms: int = 0) -> list[Published]:
        """See the contract."""
        if self._bus is None:
            return [_away()] * len(records)
        return await self._bus.publish(topic, records, delay_ms=delay_ms)

    async def subscribe(self, topic: Topic, name: str, *, mode: Mode, consumer: str = "") -> Subscription:
        """See the contract."""
        return await self._there().subscribe(topic, name, mode=mode, consumer=consumer)

    async def unsubscribe(self, topic: Topic, name: str) -> None:
        """See the contract."""
        await self._there().unsubscribe(topic, name)

    async def read(
        self, topic: Topic, partition: int, *, start: Start = "earliest", until_now: bool = False
    ) -> AsyncIterator[Delivery]:
        """See the contract."""
        async for delivery in self._there().read(topic, partition, start=start, until_now=until_now):
            yield delivery

    async def table(self, topic: Topic) -> Table:
        """See the contract."""
        return await self._there().table(topic)

    async def alive(self) -> bool:
        """See the contract."""
        return self._bus is not None and await self._bus.alive()

    async def close(self) -> None:
        """See the contract."""
        await end_tasks(self._connecting)
        if self._bus is not None:
            await self._bus.close()

    def _there(self) -> Bus:
        if self._bus is None:
            raise _away()
        return self._bus

    async def _until_connected(self) -> None:
        while self._bus is None:
            try:
                self._bus = await self._connect()
            except BusUnavailableError as error:
                log.warning("waiting for the bus", reason=str(error))
                await asyncio.sleep(_RETRY_S)


def _away() -> BusUnavailableError:
    return BusUnavailableError("the bus must answer, it has not yet since this process started; it is tried again")
