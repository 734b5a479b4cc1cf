"""The archive holds every event of the log once, in a folder and in object storage, however its process ends."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from afterclick.valkey_server import ValkeyServer, free_port
from ingest.archive import run_archive
from ingest.archive_below import archived_below
from ingest.archive_compaction import Compactor
from ingest.archive_folder import FolderPlace
from ingest.archive_place import ArchivePlace, StoredFile, open_place
from ingest.archive_reader import archived_positions, last_position, list_place, read_archived, scan_archive
from ingest.bus.contract import Delivery
from ingest.bus.embedded import EmbeddedBus
from ingest.dedup import read_deduplicated
from ingest.errors import ArchiveError, LogMismatchError
from ingest.events import decode_event
from ingest.settings import ArchiveSettings, DedupSettings
from ingest.topics import EVENTS
from tests.integration.collecting.archive_tools import (
    DAY_MS,
    SETTINGS,
    START_MS,
    ArchiveProcess,
    Watcher,
    archive_all,
    archived_ids,
    duckdb_ids,
    ids,
    ids_by_position,
    publish,
    publish_until,
    wait_until,
)
from tests.object_storage import ObjectStorage


@pytest.fixture(params=["folder", "object-storage"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> ArchivePlace:
    if request.param == "folder":
        return FolderPlace(tmp_path / "archive" / "events")
    storage: ObjectStorage = request.getfixturevalue("object_storage")
    return open_place(f"{storage.url}/{secrets.token_hex(6)}/events", storage.options)


@pytest.fixture
def folder(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "archive" / "events")


async def test_every_event_is_archived_once_over_kills_at_any_instant(
    embedded: EmbeddedBus, valkey: ValkeyServer, place: ArchivePlace
) -> None:
    chance = random.Random(20)
    enough = asyncio.Event()
    publishing = asyncio.create_task(publish_until(embedded, enough))
    watcher = Watcher(place)
    watching = asyncio.create_task(watcher.watch(enough))
    for kill_number in range(20):
        archive = ArchiveProcess(valkey.url, place)
        seen = set(place.files())
        try:
            # Some instants fall into start-up; the others while files are being written and merged.
            if kill_number % 5:
                await wait_until(lambda seen=seen: bool(set(place.files()) - seen))
            await asyncio.sleep(chance.uniform(0, 0.3))
        finally:
            archive.kill()
    enough.set()
    everything = range(await publishing)
    await watching

    archive = ArchiveProcess(valkey.url, place)
    try:
        await wait_until(lambda: len(archived_ids(place)) >= len(everything))
        await wait_until(lambda: not list_place(place).recent)
    finally:
        code, errors = archive.stop()

    assert code == 0, errors
    assert archived_ids(place) == ids(everything)
    lake = pl.scan_parquet(place.address_of("date=*/hour=*/*.parquet"), storage_options=place.storage_options)
    assert sorted(lake.select("message_id").collect()["message_id"].to_list()) == ids(everything)
    assert watcher.reads >= 20


async def test_a_merge_hides_the_small_files_at_once_and_takes_them_away_later(
    embedded: EmbeddedBus, place: ArchivePlace
) -> None:
    for start in range(0, 90, 30):
        await publish(embedded, range(start, start + 30))
        await archive_all(embedded, place, start + 30)
    small = list_place(place).recent
    tomorrow_ms = time.time_ns() // 1_000_000 + DAY_MS
    compactor = Compactor(place, ArchiveSettings(keep_small_ms=200))
    compactor.turn(now_ms=tomorrow_ms)

    merged = list_place(place)
    assert archived_ids(place) == ids(range(90))
    assert (merged.recent, merged.covered) == ([], small)
    assert len(merged.lake) == await embedded.partitions(EVENTS)

    compactor.turn(now_ms=tomorrow_ms)
    await asyncio.sleep(0.25)
    compactor.turn(now_ms=tomorrow_ms)
    assert [file.name for file in place.files("_recent")] == []
    assert archived_ids(place) == ids(range(90))

    await publish(embedded, range(90, 100))
    await archive_all(embedded, place, 100)
    assert archived_ids(place) == ids(range(100))
    assert await ids_by_position(embedded, place) == ids(range(100))


async def test_two_archives_of_one_object_store_write_every_event_once(
    embedded: EmbeddedBus, valkey: ValkeyServer, object_storage: ObjectStorage
) -> None:
    place = open_place(f"{object_storage.url}/{secrets.token_hex(6)}/events", object_storage.options)
    enough = asyncio.Event()
    publishing = asyncio.create_task(publish_until(embedded, enough))
    archives = [ArchiveProcess(valkey.url, place) for _ in range(2)]
    try:
        for pause_s in (1.0, 3.0, 1.0, 3.0):
            await wait_until(lambda: bool(place.files("_recent")))
            await asyncio.sleep(1.5)
            # One stands still for longer than its lease, or even than small files stay; what it then does with its old
            # knowledge must come to nothing.
            archives[0].pause()
            await asyncio.sleep(pause_s)
            archives[0].go_on()
            archives.reverse()
        enough.set()
        everything = range(await publishing)
        await wait_until(lambda: set(archived_ids(place)) >= set(ids(everything)))
    finally:
        ends = [archive.stop() for archive in archives]

    assert [code for code, _ in ends] == [0, 0], ends
    assert archived_ids(place) == ids(everything)


async def test_polars_and_duckdb_read_the_archive_as_it_lies(embedded: EmbeddedBus, place: ArchivePlace) -> None:
    await publish(embedded, range(60))
    await archive_all(embedded, place, 60)
    Compactor(place, ArchiveSettings()).turn(now_ms=time.time_ns() // 1_000_000 + DAY_MS)
    await publish(embedded, range(60, 80))
    await archive_all(embedded, place, 80)
    lake, recent = "date=*/hour=*/*.parquet", "_recent/date=*/hour=*/*.parquet"

    scanned = pl.scan_parquet(
        place.address_of(lake), hive_partitioning=True, storage_options=place.storage_options
    ).collect()
    assert sorted(scanned["message_id"].to_list()) == ids(range(60))
    assert {"date", "hour"} <= set(scanned.columns)
    assert duckdb_ids(place, lake) == ids(range(60))
    assert duckdb_ids(place, lake, recent) == ids(range(80))


async def test_the_same_file_posted_twice_is_archived_once(embedded: EmbeddedBus, place: ArchivePlace) -> None:
    await publish(embedded, range(200))
    await archive_all(embedded, place, 200)
    await publish(embedded, range(200), pack=13)
    await publish(embedded, range(200, 220))
    await archive_all(embedded, place, 220)

    assert archived_ids(place) == ids(range(220))


async def test_what_comes_again_after_the_rename_is_not_written_again(
    embedded: EmbeddedBus, place: ArchivePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(embedded, range(50))
    await archive_all(embedded, place, 50)
    before = archived_positions(place)

    # A subscription that is new begins at the earliest entry, as one does whose acknowledgements were lost.
    monkeypatch.setattr("ingest.archive.SUBSCRIPTION", "archive-that-forgot")
    await publish(embedded, range(50, 90))
    await archive_all(embedded, place, 90)

    assert archived_ids(place) == ids(range(90))
    assert all(archived_positions(place)[partition] >= last for partition, last in before.items())


async def test_the_archive_gives_back_what_the_bus_gave(embedded: EmbeddedBus, place: ArchivePlace) -> None:
    await publish(embedded, range(120))
    await archive_all(embedded, place, 120)

    for partition in range(await embedded.partitions(EVENTS)):
        from_bus = [d async for d in embedded.read(EVENTS, partition, until_now=True)]
        from_archive = [d async for d in read_archived(place, partition)]
        assert [_content(d) for d in from_archive] == [_content(d) for d in from_bus]

        middle = from_bus[len(from_bus) // 2]
        after = [d async for d in read_archived(place, partition, start=middle.last)]
        assert [d.last for d in after] == [d.last for d in from_bus if d.last > middle.last]
        since = [d async for d in read_archived(place, partition, start=middle.accepted_at_ms)]
        assert [d.last for d in since] == [d.last for d in from_bus if d.accepted_at_ms >= middle.accepted_at_ms]
        below = archived_below(place)(EVENTS, partition, "earliest", middle.entries[0].position)
        assert [d.last async for d in below] == [d.last for d in from_bus if d.last < middle.entries[0].position]


def _content(delivery: Delivery) -> tuple[object, ...]:
    entries = [
        (entry.key, entry.position, entry.event_time_ms, decode_event(entry.payload or b""))
        for entry in delivery.entries
    ]
    return delivery.partition, delivery.log_id, delivery.accepted_at_ms, entries


async def test_a_row_says_all_that_training_asks_for(embedded: EmbeddedBus, place: ArchivePlace) -> None:
    await publish(embedded, range(30))
    await archive_all(embedded, place, 30)

    row = scan_archive(place).filter(pl.col("message_id") == "message-000005").collect().row(0, named=True)

    assert row["visitor_key"] == (bytes([5]) * 16).hex()
    assert (row["event"], row["time_ms"], row["late"]) == ("view_item", START_MS + 5, False)
    assert (row["item_id"], row["quantity"], row["price"]) == (["item-5"], [1], [1.25])
    assert row["date"] == time.strftime("%Y-%m-%d", time.gmtime(row["accepted_at_ms"] / 1000))
    assert row["hour"] == time.strftime("%H", time.gmtime(row["accepted_at_ms"] / 1000))
    assert msgspec.json.decode(row["rest"])["cart_id"] == "c5"


async def test_an_empty_archive_has_no_rows_and_its_columns(place: ArchivePlace) -> None:
    assert scan_archive(place).collect().height == 0
    assert "visitor_key" in scan_archive(place).collect_schema()
    assert [d async for d in read_archived(place, 0)] == []


async def test_an_archive_of_another_log_is_refused_by_name(
    embedded: EmbeddedBus, place: ArchivePlace, tmp_path: Path
) -> None:
    await publish(embedded, range(10))
    await archive_all(embedded, place, 10)
    other = ValkeyServer(tmp_path / "another", free_port(), "always")
    other.start()
    bus = await EmbeddedBus.connect(other.url)
    try:
        await bus.ensure([EVENTS], partitions=4)
        with pytest.raises(LogMismatchError, match=f"{await embedded.log_id(EVENTS):016x}.*--data-dir"):
            await run_archive(bus, SETTINGS, place, asyncio.Event())
    finally:
        await bus.close()
        other.kill()

    assert archived_ids(place) == ids(range(10))


async def test_a_second_writer_of_a_folder_is_kept_out(embedded: EmbeddedBus, folder: FolderPlace) -> None:
    async with folder.writing(wait_ms=0):
        with pytest.raises(ArchiveError, match="another process"):
            await run_archive(embedded, SETTINGS, folder, asyncio.Event())


async def test_half_written_files_are_swept_away(embedded: EmbeddedBus, folder: FolderPlace) -> None:
    folder.aside("p0-half").parent.mkdir(parents=True)
    folder.aside("p0-half").write_bytes(b"PAR1 half of it")
    await publish(embedded, range(5))

    await archive_all(embedded, folder, 5)

    assert list(folder.aside("p0-half").parent.iterdir()) == []
    assert archived_ids(folder) == ids(range(5))


async def test_a_folder_that_cannot_be_written_is_said_and_nothing_acknowledged(
    embedded: EmbeddedBus, folder: FolderPlace
) -> None:
    await publish(embedded, range(5))
    hour_folder = folder.root / "_recent" / f"date={time.strftime('%Y-%m-%d', time.gmtime())}"
    hour_folder.parent.mkdir(parents=True)
    hour_folder.write_text("a file where a folder belongs")
    with pytest.raises(ArchiveError, match="nothing of it was acknowledged"):
        await asyncio.wait_for(run_archive(embedded, SETTINGS, folder, asyncio.Event()), 60)
    hour_folder.unlink()

    await archive_all(embedded, folder, 5)

    assert archived_ids(folder) == ids(range(5))


async def test_an_object_store_that_lets_a_name_be_taken_twice_is_refused(object_storage: ObjectStorage) -> None:
    place = open_place(f"{object_storage.url}/{secrets.token_hex(6)}", object_storage.options)
    place.put_new = _overwriting(place)  # type: ignore[method-assign]

    with pytest.raises(ArchiveError, match="does not keep a name"):
        async with place.writing(wait_ms=0):
            pass


def _overwriting(place: ArchivePlace) -> Callable[[Path, str], bool]:
    """As s3proxy 2.6.0 and others do."""
    put_new = place.put_new

    def put(aside: Path, name: str) -> bool:
        place.delete(name)
        return put_new(aside, name)

    return put


async def test_an_object_store_that_does_not_answer_is_said_in_a_line() -> None:
    options = {"aws_endpoint_url": f"http://127.0.0.1:{free_port()}", "aws_allow_http": "true", "aws_region": "here"}
    options |= {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}

    with pytest.raises(ArchiveError, match=r"cannot list .*can it be reached") as failed:
        open_place("s3://clicks/events", options).files("_recent")
    assert "\n" not in str(failed.value)


async def test_a_place_that_fails_now_and_then_is_asked_again(
    embedded: EmbeddedBus, place: ArchivePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = _FailsNowAndThen(place, every=5)
    monkeypatch.setattr(place, "put_new", failing.put_new)
    monkeypatch.setattr(place, "files", failing.files)
    tidying = ArchiveSettings(flush_ms=20, lock_wait_ms=0, compact_every_ms=1)
    settings = msgspec.structs.replace(SETTINGS, archive=tidying)
    stop = asyncio.Event()
    failing.on = False
    running = asyncio.create_task(run_archive(embedded, settings, place, stop))
    await asyncio.sleep(0.5)
    failing.on = True
    for start in range(0, 90, 10):
        await publish(embedded, range(start, start + 10))
        await asyncio.sleep(0.2)
    failing.on = False
    await wait_until(lambda: len(archived_ids(place)) >= 90)
    stop.set()
    await running

    assert failing.failures >= 3
    assert archived_ids(place) == ids(range(90))


class _FailsNowAndThen:
    """A place of which every so manieth request is refused, a file of it after it was put."""

    def __init__(self, place: ArchivePlace, *, every: int) -> None:
        self._put_new, self._files = place.put_new, place.files
        self._every = every
        self._asked = 0
        self.on = True
        self.failures = 0

    def put_new(self, aside: Path, name: str) -> bool:
        put = self._put_new(aside, name)
        self._fail("write", name)
        return put

    def files(self, under: str = "", *, after: str = "") -> list[StoredFile]:
        self._fail("list", under)
        return self._files(under, after=after)

    def _fail(self, doing: str, name: str) -> None:
        self._asked += self.on
        if self.on and self._asked % self._every == 0:
            self.failures += 1
            raise ArchiveError(f"cannot {doing} {name}: refused for once")


async def test_a_file_that_cannot_be_read_is_named(embedded: EmbeddedBus, place: ArchivePlace) -> None:
    await publish(embedded, range(5))
    await archive_all(embedded, place, 5)
    broken = list_place(place).recent[0]
    aside = place.aside(broken.name)
    aside.write_bytes(b"PAR1 half of it")
    place.put_over(aside, broken.name)

    with pytest.raises(ArchiveError, match=f"cannot read {broken.name} in .*whole Parquet file") as failed:
        last_position(place, broken)
    assert "\n" not in str(failed.value)


async def test_the_archive_and_every_other_reader_agree_on_what_survives(
    embedded: EmbeddedBus, place: ArchivePlace
) -> None:
    for numbers in (range(60), range(30, 90), range(10, 20)):
        await publish(embedded, numbers)
    await archive_all(embedded, place, 90)

    survivors = {
        (partition, str(entry.position))
        for partition in range(await embedded.partitions(EVENTS))
        async for part in read_deduplicated(embedded, EVENTS, partition, settings=DedupSettings(), until_now=True)
        for entry in part.entries
    }
    rows = scan_archive(place).select("partition", "position").collect()
    assert set(rows.rows()) == survivors
    assert rows.height == len(survivors) == 90
