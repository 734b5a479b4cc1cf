"""How long from publish to receive, and how many packed events a second, on each bus?

Budget: beside the fsync well under 1 ms embedded, p99 under 20 ms through a standalone Pulsar. One process publishes
and receives; 250-byte events, seeded. Machine: any, two cores; say what else runs.
Run: `python benchmarks/bench_bus.py [embedded|pulsar ...]` (Pulsar is fetched the first time).
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from afterclick.pulsar_server import PulsarServer
from afterclick.valkey_server import ValkeyServer, free_port
from ingest.bus import Bus, Position, Record, Subscription, open_bus
from ingest.topics import EVENTS

PARTITIONS = 8
RATE_PER_S = 200
LATENCY_EVENTS = 1_000
PACKED_EVENTS = 200_000
EVENTS_A_PUBLISH = 800
WARM_UP_PUBLISHES = 2_000


@contextmanager
def broker(name: str, data_dir: Path) -> Iterator[str]:
    """A fresh broker; its URL."""
    server = PulsarServer(data_dir) if name == "pulsar" else ValkeyServer(data_dir, free_port(), "always")
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def records(count: int, seed: int) -> list[Record]:
    """Clicks of 5,000 visitors, about 250 bytes each."""
    numbers = random.Random(seed)
    return [
        Record(
            b"%016d" % numbers.randrange(5_000),
            b'{"message_id":"%016x","event":"view_item","items":[{"item_id":"%d"}],"pad":"%s"}'
            % (numbers.getrandbits(64), numbers.randrange(10_000), numbers.randbytes(80).hex().encode()),
            time.perf_counter_ns() // 1_000,
        )
        for _ in range(count)
    ]


async def receive(subscription: Subscription, count: int, lags_ms: list[float]) -> None:
    """Take in `count` events and note how old each was."""
    while len(lags_ms) < count:
        for delivery in await subscription.receive(wait_ms=1_000, entries_max=10_000):
            now_us = time.perf_counter_ns() // 1_000
            lags_ms.extend((now_us - entry.event_time_ms) / 1_000 for entry in delivery.entries)
            await subscription.acknowledge(delivery)


async def warm_up(bus: Bus, subscription: Subscription) -> None:
    """Producers open, partitions assigned, the broker's hot paths compiled."""
    for seed in range(WARM_UP_PUBLISHES):
        await bus.publish(EVENTS, records(1, seed))
    await receive(subscription, WARM_UP_PUBLISHES, [])


async def latency(bus: Bus, subscription: Subscription) -> str:
    """Single events at a fixed rate."""
    lags_ms: list[float] = []
    sent_ms: list[float] = []
    receiving = asyncio.create_task(receive(subscription, LATENCY_EVENTS, lags_ms))
    begun_s = time.perf_counter()
    publishing = []
    for i in range(LATENCY_EVENTS):
        await asyncio.sleep(max(0.0, begun_s + i / RATE_PER_S - time.perf_counter()))
        publishing.append(asyncio.create_task(publish_one(bus, i, sent_ms)))
    await asyncio.gather(*publishing)
    await receiving
    received = np.percentile(lags_ms, [50, 99])
    sent = np.percentile(sent_ms, [50, 99])
    return (
        f"publish_p50_ms={sent[0]:.2f} publish_p99_ms={sent[1]:.2f} "
        f"receive_p50_ms={received[0]:.2f} receive_p99_ms={received[1]:.2f}"
    )


async def publish_one(bus: Bus, seed: int, sent_ms: list[float]) -> None:
    """One event, and how long its verdict took."""
    begun_s = time.perf_counter()
    [verdict] = await bus.publish(EVENTS, records(1, seed))
    if not isinstance(verdict, Position):
        raise verdict
    sent_ms.append((time.perf_counter() - begun_s) * 1_000)


async def throughput(bus: Bus, subscription: Subscription) -> str:
    """Publishes of 800 events, two at a time, then all of it received."""
    chunk = records(EVENTS_A_PUBLISH, 2)
    begun_s = time.perf_counter()
    for _ in range(0, PACKED_EVENTS, 2 * EVENTS_A_PUBLISH):
        for verdicts in await asyncio.gather(bus.publish(EVENTS, chunk), bus.publish(EVENTS, chunk)):
            if not all(isinstance(verdict, Position) for verdict in verdicts):
                raise SystemExit(f"refused: {verdicts[0]}")
    published_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    await receive(subscription, PACKED_EVENTS, [])
    received_s = time.perf_counter() - begun_s
    return (
        f"packed_publish_per_s={PACKED_EVENTS / published_s:.0f} packed_receive_per_s={PACKED_EVENTS / received_s:.0f}"
    )


async def measure(name: str, url: str) -> None:
    """Both figures of one bus, one line."""
    bus = await open_bus(url)
    await bus.ensure([EVENTS], partitions=PARTITIONS)
    subscription = await bus.subscribe(EVENTS, "archive", mode="ordered")
    await warm_up(bus, subscription)
    quiet = await latency(bus, subscription)
    packed = await throughput(bus, subscription)
    print(f"bus={name} rate_per_s={RATE_PER_S} {quiet} {packed}")
    await subscription.close()
    await bus.close()


def main() -> None:
    """Each bus named on the command line, or both."""
    for name in sys.argv[1:] or ["embedded", "pulsar"]:
        with tempfile.TemporaryDirectory() as folder, broker(name, Path(folder)) as url:
            asyncio.run(measure(name, url))


if __name__ == "__main__":
    main()
