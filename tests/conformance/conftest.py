"""What the conformance tests share: topics, records, waiting for deliveries, a consumer in a process of its own."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import ingest
from ingest.bus import Bus, Delivery, Entry, Subscription
from ingest.errors import BusUnavailableError
from ingest.topics import EVENTS

PARTITIONS = 4
# Far longer than anything takes: only a hang comes near it.
PATIENCE_S = 60.0

Drain = Callable[..., Awaitable[list[Delivery]]]


@pytest.fixture
async def events_bus(bus: Bus) -> Bus:
    """A bus with the topic `events`, of four partitions."""
    await bus.ensure([EVENTS], partitions=PARTITIONS)
    return bus


@pytest.fixture
def drain() -> Drain:
    """`drain(subscription, entries=n, ack=True)`: receive until `n` entries have come."""

    async def drained(
        subscription: Subscription, *, entries: int, ack: bool = True, patience_s: float = PATIENCE_S
    ) -> list[Delivery]:
        found: list[Delivery] = []
        deadline_s = time.monotonic() + patience_s
        while sum(len(delivery.entries) for delivery in found) < entries:
            assert time.monotonic() < deadline_s, f"wanted {entries} entries, got {payloads(found)}"
            try:
                deliveries = await subscription.receive(wait_ms=500, entries_max=1_000)
            except BusUnavailableError:
                continue
            for delivery in deliveries:
                found.append(delivery)
                if ack:
                    await subscription.acknowledge(delivery)
        return found

    return drained


@pytest.fixture
def read_all() -> Callable[..., Awaitable[list[Entry]]]:
    """`read_all(bus, topic, partitions, start=…)`: every entry there is now, partition after partition."""

    async def read(bus: Bus, topic: object, partitions: int, **start: object) -> list[Entry]:
        return [
            entry
            for partition in range(partitions)
            async for delivery in bus.read(topic, partition, until_now=True, **start)  # type: ignore[arg-type]
            for entry in delivery.entries
        ]

    return read


class ConsumerProcess:
    """A consumer that can be killed or stopped; what it received, as it said so."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.received: list[dict[str, object]] = []
        self._reading = asyncio.create_task(self._read())

    async def until(self, count: int) -> None:
        """Wait until it has received `count` entries in all."""
        deadline_s = time.monotonic() + PATIENCE_S
        while len(self.received) < count:
            assert time.monotonic() < deadline_s, f"wanted {count} entries, the process got {self.received}"
            assert self._process.returncode is None, f"the consumer process ended with {self._process.returncode}"
            await asyncio.sleep(0.02)

    def send_signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP or SIGCONT."""
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kill it if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._reading.cancel()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.received.append(json.loads(line))


@pytest.fixture
async def start_consumer(bus_url: str) -> AsyncIterator[Callable[..., Awaitable[ConsumerProcess]]]:
    """`start_consumer(subscription, hold_ms=0)`: it acknowledges each delivery `hold_ms` after it has said so."""
    started: list[ConsumerProcess] = []

    async def start(subscription: str, *, hold_ms: int = 0) -> ConsumerProcess:
        script = Path(__file__).with_name("consumer_process.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            bus_url,
            subscription,
            str(hold_ms),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(ingest.__file__).parents[1])},
        )
        started.append(ConsumerProcess(process))
        return started[-1]

    yield start
    for consumer in started:
        await consumer.end()


def payloads(deliveries: list[Delivery]) -> list[bytes | None]:
    """Every entry's payload, in the order of delivery."""
    return [entry.payload for delivery in deliveries for entry in delivery.entries]
