"""An erased visitor is gone from the online store, the archive and every replay; whoever comes back is seen anew."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import polars as pl

from feature_store.erasure import erase_visitor
from feature_store.keys import identity_key, visitor_key
from feature_store.rebuild import rebuild_online_store
from feature_store.visitor_reader import VisitorReader
from ingest.archive import run_archive
from ingest.archive_reader import archived_positions, scan_archive
from ingest.bus import Record
from ingest.dedup import read_deduplicated
from ingest.settings import ArchiveSettings, DedupSettings, Settings
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS
from tests.integration.windows.windows_tools import (
    PARTITIONS,
    START_MS,
    WORKER,
    System,
    event_record,
    eventually,
    publish,
    taken_in,
    visitor_of,
    working,
)

USER, PHONE, LAPTOP, OTHER = 90, 1, 2, 3
# The bus accepts at the time of its own clock, which names the archive's folders.
ERASED_AT_MS = time.time_ns() // 1_000_000 + 600_000


def identified(number: int, browser: int) -> list[Record]:
    user, key = visitor_of(USER).hex(), visitor_of(browser).hex()
    at_ms = {"time_ms": START_MS + number, "received_at_ms": START_MS + number}
    both = {"item_ids": (), "event": "identify", "user_key": user, **at_ms}
    return [
        event_record(number, visitor=browser, **both),
        event_record(number + 50, visitor=USER, browser_key=key, **both),
    ]


EVERYTHING = [
    *(event_record(n, visitor=visitor, item_ids=[f"item-{n}"]) for n, visitor in enumerate((PHONE, LAPTOP, OTHER))),
    *identified(10, PHONE),
    *identified(11, LAPTOP),
    event_record(20, visitor=USER, item_ids=["sold"], event="purchase"),
]


async def erased(system: System) -> None:
    person = await VisitorReader(system.store).person(visitor_of(USER), 1_000)
    erasure = await erase_visitor(system.bus, system.store, person, now_ms=ERASED_AT_MS)
    assert set(erasure.visitor_keys) == {visitor_of(USER), visitor_of(PHONE), visitor_of(LAPTOP)}
    assert erasure.records_deleted == 6
    assert not erasure.browsers_beyond


async def histories(system: System) -> list[tuple[str, ...]]:
    reader = VisitorReader(system.store)
    return [(await reader.history(visitor_of(who), 1_000)).item_ids for who in (USER, PHONE, LAPTOP, OTHER)]


async def test_erasing_a_user_erases_their_browsers_from_the_store_and_from_what_is_replayed(system: System) -> None:
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, EVERYTHING))
        assert [len(found) for found in await histories(system)] == [3, 3, 3, 1]

        await erased(system)
        at_once = await histories(system)
        back = [event_record(30, visitor=PHONE, item_ids=["back"], received_at_ms=ERASED_AT_MS + 1)]
        await asyncio.sleep(1)
        await taken_in(system.store, await publish(system.bus, back))
        returned = await histories(system)
    await rebuild_online_store(system.bus, system.store, WORKER)
    made_anew = await histories(system)

    assert at_once == [(), (), (), ("item-2",)]
    assert returned == made_anew == [(), ("back",), (), ("item-2",)]


async def test_what_a_worker_had_not_taken_in_yet_is_hidden_from_it(embedded_system: System) -> None:
    system = embedded_system
    ends = await publish(system.bus, EVERYTHING)
    async with working(system.bus, system.store):
        await taken_in(system.store, ends)
    await erased(system)
    late = [event_record(n, visitor=PHONE, item_ids=["on-its-way"]) for n in (40, 41)]
    ends |= await publish(system.bus, [*late, event_record(42, visitor=PHONE, received_at_ms=ERASED_AT_MS + 1)])
    async with working(system.bus, system.store):
        await taken_in(system.store, ends)

    assert await histories(system) == [(), ("a",), (), ("item-2",)]


async def test_a_worker_deletes_what_it_wrote_after_the_erasure(embedded_system: System) -> None:
    system = embedded_system
    names = [visitor_key(visitor_of(PHONE)), identity_key(visitor_of(PHONE))]
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, EVERYTHING))
        written = await system.store.read(names)
        await erased(system)
        # As from a batch that the worker held when the tombstone came.
        await system.store.send([("SET", name, record or b"") for name, record in zip(names, written, strict=True)])

        async def gone() -> bool:
            return await system.store.read(names) == [None, None]

        await eventually(gone, "the worker to delete it")


@asynccontextmanager
async def archiving(system: System, root: Path, *, now_ms: int) -> AsyncIterator[None]:
    settings = Settings(archive=ArchiveSettings(flush_ms=50, compact_every_ms=100))
    stop = asyncio.Event()
    archive = asyncio.create_task(run_archive(system.bus, settings, root, stop, now_ms=lambda: now_ms))
    try:
        yield
    finally:
        stop.set()
        await archive


async def test_archived_events_of_erased_visitors_are_emptied_and_keep_their_places(
    embedded_system: System, tmp_path: Path
) -> None:
    system = embedded_system
    root = tmp_path / "archive"
    async with archiving(system, root, now_ms=ERASED_AT_MS + 60_000):
        async with working(system.bus, system.store):
            await taken_in(system.store, await publish(system.bus, EVERYTHING))

            async def archived() -> bool:
                return scan_archive(root).collect().height == len(EVERYTHING)

            await eventually(archived, "the archive to hold everything")
        before = scan_archive(root).collect()
        positions = archived_positions(root)
        await erased(system)

        async def emptied() -> bool:
            return scan_archive(root).filter(pl.col("visitor_key") != "0" * 32).collect().height == 1

        await eventually(emptied, "the archive to be emptied of them")
    after = scan_archive(root).collect()

    raw = msgspec.json.encode(after.drop("position").to_dicts()).decode()
    for who in (USER, PHONE, LAPTOP):
        assert visitor_of(who).hex() not in raw
    assert "sold" not in raw
    assert after.filter(pl.col("visitor_key") == visitor_of(OTHER).hex())["item_id"].to_list() == [["item-2"]]
    assert archived_positions(root) == positions
    kept = ["partition", "position", "accepted_at_ms", "received_at_ms"]
    assert after.select(kept).equals(before.select(kept))
    assert (root / "_erased.json").exists() is False

    # Half an hour later it looks once more, and notes that it is done.
    async with archiving(system, root, now_ms=ERASED_AT_MS + 1_800_000):
        await eventually(lambda: _exists(root / "_erased.json"), "the note")


async def _exists(path: Path) -> bool:
    return path.exists()


async def test_a_reader_that_is_told_of_tombstones_gives_no_erased_event(embedded_system: System) -> None:
    system = embedded_system
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, EVERYTHING))
    await erased(system)
    tombstones = await Tombstones.open(system.bus, reader="test")

    given = set()
    for partition in range(PARTITIONS):
        async for part in read_deduplicated(
            system.bus, EVENTS, partition, settings=DedupSettings(), until_now=True, tombstones=tombstones
        ):
            given |= {event.visitor_key for event in part.events}
    await tombstones.close()

    assert given == {visitor_of(OTHER).hex()}
