"""Clicks to archive, an archive in a process of its own, and what stands in it by polars and by DuckDB."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import duckdb
from obstore.fsspec import FsspecStore

from ingest.archive import run_archive
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import read_archived, scan_archive
from ingest.bus.contract import Record
from ingest.bus.embedded import EmbeddedBus
from ingest.events import Event, Item, decode_event, encode_event
from ingest.settings import ArchiveSettings, Settings
from ingest.topics import EVENTS

SETTINGS = Settings(archive=ArchiveSettings(flush_ms=50, lock_wait_ms=0))
START_MS = 1_784_000_000_000
DAY_MS = 86_400_000


def record(number: int) -> Record:
    key = bytes([number % 32]) * 16
    item = Item(f"item-{number % 7}", price=number / 4, item_name="Mug", index=number % 3)
    event = Event(
        f"message-{number:06d}", "view_item", key.hex(), START_MS + number, START_MS, (item,), cart_id=f"c{number}"
    )
    return Record(key, encode_event(event), event.time_ms)


async def publish(bus: EmbeddedBus, numbers: range, *, pack: int = 9) -> None:
    for start in range(numbers.start, numbers.stop, pack):
        await bus.publish(EVENTS, [record(n) for n in range(start, min(start + pack, numbers.stop))])


async def publish_until(bus: EmbeddedBus, enough: asyncio.Event) -> int:
    """Steadily, so that every start of the archive finds something new; how many there were."""
    number = 0
    while not enough.is_set():
        await publish(bus, range(number, number + 9))
        number += 9
        await asyncio.sleep(0.01)
    return number


def archived_ids(place: ArchivePlace) -> list[str]:
    """Read as anybody would; a file that went into the lake and was taken away meanwhile is asked for anew."""
    while True:
        try:
            return sorted(scan_archive(place).select("message_id").collect()["message_id"].to_list())
        except FileNotFoundError:
            continue


def duckdb_ids(place: ArchivePlace, *globs: str) -> list[str]:
    """What DuckDB reads of the files as they lie."""
    connection = duckdb.connect()
    if place.storage_options is not None:
        # DuckDB's own extension for object storage would have to be fetched; through fsspec it does not expand a glob.
        globs = tuple(file.name for glob in globs for file in place.files() if fnmatch(file.name, glob))
        config: Any = {name: value for name, value in place.storage_options.items() if name != "aws_allow_http"}
        connection.register_filesystem(FsspecStore("s3", config=config, client_options={"allow_http": True}))
    found = connection.sql(
        f"SELECT message_id FROM read_parquet({[place.address_of(glob) for glob in globs]}, hive_partitioning = true, "
        "union_by_name = true) QUALIFY row_number() OVER (PARTITION BY partition, position) = 1 ORDER BY message_id"
    )
    return [message_id for (message_id,) in found.fetchall()]


def ids(numbers: range) -> list[str]:
    return [f"message-{n:06d}" for n in numbers]


async def wait_until(condition: Callable[[], bool], *, within_s: float = 60) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        await asyncio.sleep(0.02)


async def archive_all(bus: EmbeddedBus, place: ArchivePlace, count: int) -> None:
    """Run the archive in this process until it holds `count` events."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_archive(bus, SETTINGS, place, stop))
    try:
        await wait_until(lambda: running.done() or len(archived_ids(place)) >= count)
    finally:
        stop.set()
        await running


class ArchiveProcess:
    def __init__(self, url: str, place: ArchivePlace, *, flush_ms: int = 20) -> None:
        script = Path(__file__).with_name("archive_process.py")
        options = json.dumps(place.storage_options or {})
        arguments = [sys.executable, str(script), url, place.address, options, str(flush_ms)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


async def ids_by_position(bus: EmbeddedBus, place: ArchivePlace) -> list[str]:
    """As rebuild and learner read."""
    found: list[str] = []
    for partition in range(await bus.partitions(EVENTS)):
        async for delivery in read_archived(place, partition):
            found += [decode_event(entry.payload or b"").message_id for entry in delivery.entries]
    return sorted(found)


class Watcher:
    """Reads the archive again and again, as others do, while it is written and compacted."""

    def __init__(self, place: ArchivePlace) -> None:
        self._place = place
        self.reads = 0
        self._seen: set[str] = set()

    async def watch(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            found = await asyncio.to_thread(archived_ids, self._place)
            assert len(found) == len(set(found)), "an event was seen twice"
            assert self._seen <= set(found), "an event that was there was not seen"
            self._seen = set(found)
            self.reads += 1
            await asyncio.sleep(0.02)
