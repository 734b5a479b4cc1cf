"""Events to publish, workers to run in this process or in one of their own, and waiting until they have everything."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afterclick.valkey_server import ValkeyServer
from feature_store import keys
from feature_store.dump import Windows, dump_windows
from feature_store.online_store import OnlineStore
from feature_store.record_header import position_of
from feature_store.settings import WorkerSettings
from feature_store.worker import run_worker
from ingest.bus import Bus, Position, Record, open_bus, partition_of
from ingest.bus.settings import BusSettings
from ingest.errors import BusError
from ingest.events import Attribution, Event, Item, encode_event
from ingest.topics import EVENTS, EVENTS_REJECTED

PARTITIONS = 4
START_MS = 1_700_000_000_000
END_MS = START_MS + 3_600_000
WAIT_S = 120.0
# A short lease, so that a worker's partitions soon go to the next when it is killed or stopped.
BUS = BusSettings(lease_ms=1_000)
WORKER = WorkerSettings(checkpoint_ms=50, batch_events_max=50, backoff_ms_max=200)

_NAMES = ("view_item", "view_item", "view_item", "select_item", "add_to_cart", "purchase", "search", "view_item_list")


def visitor_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def event_record(number: int, *, visitor: int = 1, item_ids: Sequence[str] = ("a",), **fields: Any) -> Record:
    """One event by a visitor, as the collector publishes it; without `fields` a view."""
    values: dict[str, Any] = {
        "message_id": f"message-{number:08d}",
        "event": "view_item",
        "visitor_key": visitor_of(visitor).hex(),
        "time_ms": START_MS + number,
        "received_at_ms": START_MS + number,
        "items": tuple(Item(item_id=item_id) for item_id in item_ids),
    }
    event = Event(**{**values, **fields})
    return Record(visitor_of(visitor), encode_event(event), event.time_ms)


def many_events(count: int, *, seed: int, visitors: int = 40, items: int = 30) -> list[Record]:
    """Events over an hour, of every kind that the windows count, often several at one instant."""
    rng = random.Random(seed)
    records = []
    for number in range(count):
        name = rng.choice(_NAMES)
        lines = {"search": 0, "view_item_list": 6, "purchase": 2}.get(name, 1)
        suggested = name in {"view_item_list", "select_item"} and rng.random() < 0.5
        records.append(
            event_record(
                number,
                visitor=rng.randrange(visitors),
                items=tuple(_line(rng.randrange(items)) for _ in range(lines)),
                event=name,
                time_ms=START_MS + rng.randrange(3_600) * 1_000,
                received_at_ms=END_MS,
                attribution=_an_answer(rng) if suggested else None,
            )
        )
    return records


def _an_answer(rng: random.Random) -> Attribution:
    return Attribution(rng.choice(("home", "cart")), START_MS, rng.choice(("", "hats/B")))


def _line(number: int) -> Item:
    """An item line; every third item names neither category nor price."""
    if number % 3 == 0:
        return Item(item_id=f"item-{number}")
    return Item(item_id=f"item-{number}", item_category=f"category-{number % 4}", price=1.5 * number)


async def publish(bus: Bus, records: Sequence[Record]) -> dict[int, Position]:
    """The last position in each partition; a broker that is away for a moment is asked again."""
    ends: dict[int, Position] = {}
    for i in range(0, len(records), 25):
        part = list(records[i : i + 25])
        deadline_s = time.monotonic() + WAIT_S
        while part:
            verdicts = await bus.publish(EVENTS, part)
            for record, verdict in zip(part, verdicts, strict=True):
                if isinstance(verdict, Position):
                    ends[partition_of(record.key, PARTITIONS)] = verdict
            part = [record for record, verdict in zip(part, verdicts, strict=True) if isinstance(verdict, BusError)]
            assert time.monotonic() < deadline_s, f"{len(part)} events could not be published for {WAIT_S} s"
    return ends


async def eventually(reached: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not await reached():
        assert time.monotonic() < deadline_s, f"waited {WAIT_S} s for {what}"
        await asyncio.sleep(0.02)


async def taken_in(store: OnlineStore, ends: dict[int, Position]) -> None:
    """Wait until the records of every partition have come to the end of what was published."""

    async def reached() -> bool:
        try:
            found = await store.read([keys.event_kinds_key(partition) for partition in ends])
        except Exception:
            return False  # the store is down, which some tests want
        return all(
            record is not None and position_of(record) >= end for record, end in zip(found, ends.values(), strict=True)
        )

    await eventually(reached, "the worker to take everything in")


async def windows_of(store: OnlineStore) -> Windows:
    return await dump_windows(store, END_MS)


def expected_item_views(records: Sequence[Record]) -> Counter[str]:
    """Views by item, counted by hand, of events that carry each `message_id` once."""
    from ingest.events import decode_event

    views: Counter[str] = Counter()
    for event in {e.message_id: e for e in (decode_event(r.payload or b"") for r in records)}.values():
        if event.event == "view_item":
            views.update(item.item_id for item in event.items)
    return views


def item_views(windows: Windows) -> Counter[str]:
    of_items = {name[5:]: int(w["view_24h"]) for name, w in windows.items() if name.startswith("item:")}
    return +Counter(of_items)


@asynccontextmanager
async def working(bus: Bus, store: OnlineStore, settings: WorkerSettings = WORKER) -> AsyncIterator[None]:
    """A worker in this process, which must not fail."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(bus, store, settings, stop))
    try:
        yield
    finally:
        stop.set()
        await worker


@dataclass
class System:
    """A bus of its own and a store of its own, both real, connected."""

    bus_url: str
    store_server: ValkeyServer
    bus: Bus
    store: OnlineStore
    workers: list["WorkerProcess"] = field(default_factory=list)

    def start_worker(self) -> "WorkerProcess":
        worker = WorkerProcess(self.bus_url, self.store_server.url)
        self.workers.append(worker)
        return worker


@asynccontextmanager
async def running(bus_url: str, store_server: ValkeyServer) -> AsyncIterator[System]:
    bus = await open_bus(bus_url, BUS)
    store = OnlineStore(store_server.url)
    system = System(bus_url, store_server, bus, store)
    try:
        await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
        yield system
    finally:
        for worker in system.workers:
            worker.kill()
        await store.close()
        await bus.close()


class WorkerProcess:
    """A worker in a process of its own, to be stopped and killed."""

    def __init__(self, bus_url: str, store_url: str) -> None:
        script = Path(__file__).with_name("worker_process.py")
        self._process = subprocess.Popen([sys.executable, str(script), bus_url, store_url])

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
