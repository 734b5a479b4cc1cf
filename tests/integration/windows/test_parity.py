"""A record that says something else than the archive is found; one that says the same is not."""

import asyncio
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest

from afterclick.parity_process import ParityFailedError, check_apart
from afterclick.settings import Settings, SystemSettings
from feature_store import keys
from feature_store.asked_features import FAMILY_OF_ENTITY
from feature_store.kinds import Kind
from feature_store.online_store import OnlineStore
from feature_store.parity import Parity
from feature_store.parity_watch import CHECKED, MISMATCHES, watch_parity
from feature_store.settings import ParitySettings, WorkerSettings
from feature_store.touches import AMOUNT, KIND, MAJOR, TIME_MS, TOUCH_COLUMNS
from ingest.archive_folder import FolderPlace
from ingest.bus.contract import partition_of
from ingest.settings import ArchiveSettings
from tests.integration.windows.fresh_clicks import VISITORS, archive_until, clicks, now_ms
from tests.integration.windows.windows_tools import (
    PARTITIONS,
    System,
    eventually,
    publish,
    taken_in,
    visitor_of,
    working,
)

SETTINGS = ParitySettings(every_ms=50, visitors=100, items=100, settle_ms=1_000)


def counted(counter: object, entity: str) -> float:
    return counter.labels(entity)._value.get()  # type: ignore[attr-defined]


async def filled(system: System, root: Path) -> None:
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, clicks(400, 0, random.Random(3))))
    await archive_until(system, root, 400)


def parity(system: System, root: Path) -> Parity:
    return Parity(
        system.store, FolderPlace(root), SETTINGS, future_ms_max=WorkerSettings().future_ms_max, now_ms=now_ms
    )


async def test_what_workers_wrote_agrees_with_the_archive(embedded_system: System, tmp_path: Path) -> None:
    await filled(embedded_system, tmp_path)
    checker = parity(embedded_system, tmp_path)

    reports = [await checker.check(turn) for turn in range(PARTITIONS)]

    assert [report.differing for report in reports] == [[]] * PARTITIONS
    assert sum(report.checked["visitor"] for report in reports) == VISITORS
    assert sum(report.checked.get("item", 0) for report in reports) > 10


async def test_a_check_in_a_process_of_its_own_says_what_differs(embedded_system: System, tmp_path: Path) -> None:
    await filled(embedded_system, tmp_path / "archive")
    await _alter(embedded_system.store, "visitor")
    settings = Settings(
        system=SystemSettings(store=embedded_system.store_server.url),
        archive=ArchiveSettings(url=str(tmp_path / "archive")),
        parity=SETTINGS,
    )
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(settings))
    turn = partition_of(visitor_of(1), PARTITIONS)

    report = await check_apart(tmp_path / "settings.json", turn, within_ms=60_000)

    assert [(found.entity, found.key) for found in report.differing] == [("visitor", visitor_of(1).hex())]
    assert "event_kinds" in report.differing[0].features
    embedded_system.store_server.kill()
    with pytest.raises(ParityFailedError, match="online store"):
        await check_apart(tmp_path / "settings.json", turn, within_ms=60_000)


@pytest.mark.parametrize("entity", ["visitor", "item"])
async def test_a_record_altered_in_the_store_fires(embedded_system: System, tmp_path: Path, entity: str) -> None:
    await filled(embedded_system, tmp_path)
    await _alter(embedded_system.store, entity)
    before = counted(MISMATCHES, entity)
    stop = asyncio.Event()
    running = asyncio.create_task(watch_parity(parity(embedded_system, tmp_path).check, SETTINGS, stop))

    async def fired() -> bool:
        return counted(MISMATCHES, entity) > before

    await eventually(fired, "the mismatch to be counted")
    stop.set()
    await running


async def _alter(store: OnlineStore, entity: str) -> None:
    """One event more than there ever was, at the same position."""
    of_items = [key async for key, _ in store.scan(b"i:*")]
    key = of_items[0] if entity == "item" else keys.visitor_key(visitor_of(1))
    [record] = await store.read([key])
    assert record is not None
    touches = np.zeros((1, TOUCH_COLUMNS), np.int64)
    touches[0, MAJOR], touches[0, TIME_MS], touches[0, AMOUNT] = 1 << 60, now_ms(), 1
    if entity == "visitor":
        touches[0, KIND] = Kind.SEARCH
    family = FAMILY_OF_ENTITY[entity]
    [altered] = family.apply([record], touches, np.zeros(1 << 12, np.uint32), 1)
    assert altered is not None
    await store.send([("SET", key, record[:24] + altered[24:])])


async def test_a_store_that_is_away_is_counted_and_asked_again(embedded_system: System, tmp_path: Path) -> None:
    await filled(embedded_system, tmp_path)
    before = counted(CHECKED, "visitor")
    embedded_system.store_server.kill()
    stop = asyncio.Event()
    running = asyncio.create_task(watch_parity(parity(embedded_system, tmp_path).check, SETTINGS, stop))
    await asyncio.sleep(0.5)
    embedded_system.store_server.start()

    async def checked_again() -> bool:
        assert not running.done()
        return counted(CHECKED, "visitor") > before

    await eventually(checked_again, "the check to go on")
    stop.set()
    await running
