"""The archive holds every event of the log once, however its process ends."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

from afterclick.valkey_server import ValkeyServer, free_port
from ingest.archive import run_archive
from ingest.archive_below import archived_below
from ingest.archive_files import archive_files, archived_positions, aside_folder, sole_writer
from ingest.archive_reader import read_archived, scan_archive
from ingest.bus.contract import Delivery, Record
from ingest.bus.embedded import EmbeddedBus
from ingest.dedup import read_deduplicated
from ingest.errors import ArchiveError, LogMismatchError
from ingest.events import Event, Item, decode_event, encode_event
from ingest.settings import ArchiveSettings, DedupSettings, Settings
from ingest.topics import EVENTS

SETTINGS = Settings(archive=ArchiveSettings(flush_ms=50, lock_wait_ms=0))
START_MS = 1_784_000_000_000


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


def archived_ids(root: Path) -> list[str]:
    return sorted(scan_archive(root).select("message_id").collect()["message_id"].to_list())


def ids(numbers: range) -> list[str]:
    return [f"message-{n:06d}" for n in numbers]


async def wait_until(condition: Callable[[], bool], *, within_s: float = 60) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        await asyncio.sleep(0.02)


async def archive_all(bus: EmbeddedBus, root: Path, count: int) -> None:
    """Run the archive in this process until it holds `count` events."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_archive(bus, SETTINGS, root, stop))
    try:
        await wait_until(lambda: running.done() or len(archived_ids(root)) >= count)
    finally:
        stop.set()
        await running


class ArchiveProcess:
    def __init__(self, url: str, root: Path, *, flush_ms: int = 20) -> None:
        script = Path(__file__).with_name("archive_process.py")
        arguments = [sys.executable, str(script), url, str(root), str(flush_ms)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    return tmp_path / "archive" / "events"


async def test_every_event_is_archived_once_over_kills_at_any_instant(
    embedded: EmbeddedBus, valkey: ValkeyServer, root: Path
) -> None:
    chance = random.Random(20)
    enough = asyncio.Event()
    publishing = asyncio.create_task(publish_until(embedded, enough))
    for kill_number in range(4):
        archive = ArchiveProcess(valkey.url, root)
        seen = len(archive_files(root))
        try:
            # One instant may fall into start-up; the others while files are being written.
            if kill_number > 0:
                await wait_until(lambda seen=seen: len(archive_files(root)) > seen)
            await asyncio.sleep(chance.uniform(0, 0.08))
        finally:
            archive.kill()
    enough.set()
    everything = range(await publishing)

    archive = ArchiveProcess(valkey.url, root)
    try:
        await wait_until(lambda: len(archived_ids(root)) >= len(everything))
    finally:
        code, errors = archive.stop()

    assert code == 0, errors
    assert archived_ids(root) == ids(everything)
    assert list(aside_folder(root).iterdir()) == []


async def test_the_same_file_posted_twice_is_archived_once(embedded: EmbeddedBus, root: Path) -> None:
    await publish(embedded, range(200))
    await archive_all(embedded, root, 200)
    await publish(embedded, range(200), pack=13)
    await publish(embedded, range(200, 220))
    await archive_all(embedded, root, 220)

    assert archived_ids(root) == ids(range(220))


async def test_what_comes_again_after_the_rename_is_not_written_again(
    embedded: EmbeddedBus, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(embedded, range(50))
    await archive_all(embedded, root, 50)
    before = archived_positions(root)

    # A subscription that is new begins at the earliest entry, as one does whose acknowledgements were lost.
    monkeypatch.setattr("ingest.archive.SUBSCRIPTION", "archive-that-forgot")
    await publish(embedded, range(50, 90))
    await archive_all(embedded, root, 90)

    assert archived_ids(root) == ids(range(90))
    assert all(archived_positions(root)[partition] >= last for partition, last in before.items())


async def test_the_archive_gives_back_what_the_bus_gave(embedded: EmbeddedBus, root: Path) -> None:
    await publish(embedded, range(120))
    await archive_all(embedded, root, 120)

    for partition in range(await embedded.partitions(EVENTS)):
        from_bus = [d async for d in embedded.read(EVENTS, partition, until_now=True)]
        from_archive = [d async for d in read_archived(root, partition)]
        assert [_content(d) for d in from_archive] == [_content(d) for d in from_bus]

        middle = from_bus[len(from_bus) // 2]
        after = [d async for d in read_archived(root, partition, start=middle.last)]
        assert [d.last for d in after] == [d.last for d in from_bus if d.last > middle.last]
        since = [d async for d in read_archived(root, partition, start=middle.accepted_at_ms)]
        assert [d.last for d in since] == [d.last for d in from_bus if d.accepted_at_ms >= middle.accepted_at_ms]
        below = archived_below(root)(EVENTS, partition, "earliest", middle.entries[0].position)
        assert [d.last async for d in below] == [d.last for d in from_bus if d.last < middle.entries[0].position]


def _content(delivery: Delivery) -> tuple[object, ...]:
    entries = [
        (entry.key, entry.position, entry.event_time_ms, decode_event(entry.payload or b""))
        for entry in delivery.entries
    ]
    return delivery.partition, delivery.log_id, delivery.accepted_at_ms, entries


async def test_a_row_says_all_that_training_asks_for(embedded: EmbeddedBus, root: Path) -> None:
    await publish(embedded, range(30))
    await archive_all(embedded, root, 30)

    row = scan_archive(root).filter(pl.col("message_id") == "message-000005").collect().row(0, named=True)

    assert row["visitor_key"] == (bytes([5]) * 16).hex()
    assert (row["event"], row["time_ms"], row["late"]) == ("view_item", START_MS + 5, False)
    assert (row["item_id"], row["quantity"], row["price"]) == (["item-5"], [1], [1.25])
    assert row["date"] == time.strftime("%Y-%m-%d", time.gmtime(row["accepted_at_ms"] / 1000))
    assert row["hour"] == time.strftime("%H", time.gmtime(row["accepted_at_ms"] / 1000))
    assert msgspec.json.decode(row["rest"])["cart_id"] == "c5"


async def test_an_empty_archive_has_no_rows_and_its_columns(root: Path) -> None:
    assert scan_archive(root).collect().height == 0
    assert "visitor_key" in scan_archive(root).collect_schema()
    assert [d async for d in read_archived(root, 0)] == []


async def test_an_archive_of_another_log_is_refused_by_name(
    embedded: EmbeddedBus, valkey: ValkeyServer, root: Path
) -> None:
    await publish(embedded, range(10))
    await archive_all(embedded, root, 10)
    other = ValkeyServer(root.parent / "another", free_port(), "always")
    other.start()
    bus = await EmbeddedBus.connect(other.url)
    try:
        await bus.ensure([EVENTS], partitions=4)
        with pytest.raises(LogMismatchError, match=f"{await embedded.log_id(EVENTS):016x}.*--data-dir"):
            await run_archive(bus, SETTINGS, root, asyncio.Event())
    finally:
        await bus.close()
        other.kill()

    assert archived_ids(root) == ids(range(10))


async def test_a_second_writer_is_kept_out(embedded: EmbeddedBus, root: Path) -> None:
    async with sole_writer(root, wait_ms=0):
        with pytest.raises(ArchiveError, match="another process"):
            await run_archive(embedded, SETTINGS, root, asyncio.Event())


async def test_half_written_files_are_swept_away(embedded: EmbeddedBus, root: Path) -> None:
    aside_folder(root).mkdir(parents=True)
    (aside_folder(root) / "p0-half.tmp").write_bytes(b"PAR1 half of it")
    await publish(embedded, range(5))

    await archive_all(embedded, root, 5)

    assert list(aside_folder(root).iterdir()) == []
    assert archived_ids(root) == ids(range(5))


async def test_a_folder_that_cannot_be_written_is_said_and_nothing_acknowledged(
    embedded: EmbeddedBus, root: Path
) -> None:
    await publish(embedded, range(5))
    root.mkdir(parents=True)
    hour_folder = root / f"date={time.strftime('%Y-%m-%d', time.gmtime())}"
    hour_folder.write_text("a file where a folder belongs")
    with pytest.raises(ArchiveError, match="nothing of it was acknowledged"):
        await asyncio.wait_for(run_archive(embedded, SETTINGS, root, asyncio.Event()), 60)
    hour_folder.unlink()

    await archive_all(embedded, root, 5)

    assert archived_ids(root) == ids(range(5))


async def test_the_archive_and_every_other_reader_agree_on_what_survives(embedded: EmbeddedBus, root: Path) -> None:
    for numbers in (range(60), range(30, 90), range(10, 20)):
        await publish(embedded, numbers)
    await archive_all(embedded, root, 90)

    survivors = {
        (partition, str(entry.position))
        for partition in range(await embedded.partitions(EVENTS))
        async for part in read_deduplicated(embedded, EVENTS, partition, settings=DedupSettings(), until_now=True)
        for entry in part.entries
    }
    rows = scan_archive(root).select("partition", "position").collect()
    assert set(rows.rows()) == survivors
    assert rows.height == len(survivors) == 90
