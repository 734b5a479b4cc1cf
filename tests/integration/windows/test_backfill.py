"""A feature gets its history while live traffic goes on, and a table says the same as the store."""

import asyncio
import random
import time
from pathlib import Path

import polars as pl
import pytest

from feature_store import keys
from feature_store.backfill_store import backfill_store
from feature_store.backfill_table import backfill_table
from feature_store.definitions import Value
from feature_store.dump import Windows, dump_windows
from feature_store.online_store import OnlineStore
from feature_store.plugins import load_plugin
from feature_store.reading import read_features
from feature_store.rebuild import rebuild_online_store
from feature_store.registry import REGISTRY
from feature_store.settings import StoreSettings, WorkerSettings
from feature_store.training import training_set
from ingest.archive import run_archive
from ingest.archive_reader import scan_archive
from ingest.bus.contract import Position
from ingest.settings import ArchiveSettings, Settings
from tests.integration.windows.fresh_clicks import archive_until, clicks, now_ms
from tests.integration.windows.windows_tools import System, eventually, publish, taken_in, working

ENTITIES = ("visitor", "item", "category", "placement", "event_name")


async def test_a_backfill_beside_a_live_worker_equals_a_full_replay(embedded_system: System, tmp_path: Path) -> None:
    system, rng, root = embedded_system, random.Random(9), tmp_path / "archive"
    stop, enough = asyncio.Event(), asyncio.Event()
    ends: dict[int, Position] = {}

    async def traffic() -> int:
        published = 0
        while not enough.is_set():
            ends.update(await publish(system.bus, clicks(50, published, rng)))
            published += 50
            await asyncio.sleep(0.01)
        return published

    archiving = asyncio.create_task(
        run_archive(system.bus, Settings(archive=ArchiveSettings(flush_ms=100, compact_every_ms=200)), root, stop)
    )
    async with working(system.bus, system.store):
        running = asyncio.create_task(traffic())

        async def much_is_archived() -> bool:
            return bool(scan_archive(root).select(pl.len()).collect().item() > 1_000)

        await eventually(much_is_archived, "the archive")
        # As when a release has just begun to keep these records: what a worker writes from now on lacks their history.
        await _forget(system, (b"v:*", b"i:*", b"y:*", b"p:*", b"k:*"))
        await asyncio.sleep(0.3)
        replayed = await backfill_store(system.bus, system.store, root, ENTITIES)
        await asyncio.sleep(0.3)
        enough.set()
        published = await running
        await taken_in(system.store, ends)
        at_ms = now_ms()
        backfilled = await dump_windows(system.store, at_ms)
    stop.set()
    await archiving

    await rebuild_online_store(system.bus, system.store, WorkerSettings())
    assert _told(backfilled) == _told(await dump_windows(system.store, at_ms))
    assert 1_000 < replayed <= published
    assert sum(windows["view_decayed"] for name, windows in backfilled.items() if name.startswith("item:")) > 300


async def _forget(system: System, patterns: tuple[bytes, ...]) -> None:
    found = [key for pattern in patterns for key in [key async for key, _ in system.store.scan(pattern)]]
    await system.store.send([("DEL", key) for key in found if key != keys.META])


def _told(windows: Windows) -> Windows:
    """Entities that say anything at all."""
    return {name: values for name, values in windows.items() if any(values.values())}


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("entity", ENTITIES)
async def test_a_table_says_what_the_store_says(
    embedded_system: System, tmp_path: Path, entity: str, processes: int
) -> None:
    system, root, out = embedded_system, tmp_path / "archive", tmp_path / "values.parquet"
    features = [feature.full_name for feature in REGISTRY.features if feature.entity == entity]
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, clicks(300, 0, random.Random(4))))
    await archive_until(system, root, 300)
    at_ms = now_ms()

    done = await asyncio.to_thread(backfill_table, root, features, out, from_ms=0, to_ms=at_ms, processes=processes)

    rows = pl.read_parquet(out)
    values = {
        f"{entity}:{row[entity]}": {n.split(":")[1]: _rounded(row[n]) for n in features} for row in rows.to_dicts()
    }
    dumped = await dump_windows(system.store, at_ms)
    assert values == {name: found for name, found in dumped.items() if name.startswith(f"{entity}:")}
    assert done.entities == len(rows) > 0
    assert 250 < done.events <= 300


def _rounded(value: Value) -> Value:
    """As `dump_windows` does."""
    if isinstance(value, list):
        return [float(f"{one:.9g}") if isinstance(one, float) else one for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


async def test_a_table_of_a_span_counts_only_what_was_accepted_in_it(embedded_system: System, tmp_path: Path) -> None:
    system, root, out = embedded_system, tmp_path / "archive", tmp_path / "values.parquet"
    await publish(system.bus, clicks(100, 0, random.Random(4)))
    await asyncio.sleep(0.02)
    middle_ms = time.time_ns() // 1_000_000
    await asyncio.sleep(0.02)
    await publish(system.bus, clicks(60, 100, random.Random(5)))
    await archive_until(system, root, 160)

    first = backfill_table(root, ["item:view_24h"], out, from_ms=0, to_ms=middle_ms, processes=1)
    second = backfill_table(root, ["item:view_24h"], out, from_ms=middle_ms, to_ms=now_ms(), processes=1)

    late = scan_archive(root).filter("late").select(pl.len()).collect().item()
    assert first.events + second.events == 160 - late
    assert 0 < first.events <= 100


_SHOP_FEATURES = """
from feature_store.custom import CountedView

FEATURES = [
    CountedView(
        "shelf", "merchandising", "products by the first letter of their category",
        key=lambda event, item: item.item_category and item.item_category[-1],
        counts={"view": "view_item", "bought": "purchase"}, windows=("24h",),
    )
]
"""


async def test_a_shops_new_counted_view_gets_its_history(embedded_system: System, tmp_path: Path) -> None:
    system, rng, root, module = embedded_system, random.Random(9), tmp_path / "archive", tmp_path / "shop_features.py"
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, clicks(300, 0, rng)))
    await archive_until(system, root, 300)
    module.write_text(_SHOP_FEATURES)
    store = OnlineStore(system.store_server.url, StoreSettings(features_module=str(module)))
    try:
        async with working(system.bus, store):
            await taken_in(store, await publish(system.bus, clicks(100, 300, rng)))
            at_ms = now_ms()
            before = await _shelves(store, at_ms)
            await backfill_store(system.bus, store, root, ["shelf"])
            await taken_in(store, await publish(system.bus, clicks(100, 400, rng)))
            at_ms = now_ms()
            backfilled = await _shelves(store, at_ms)
        await archive_until(system, root, 500)
        out = tmp_path / "shelves.parquet"
        features = ["shelf:view_24h", "shelf:bought_24h", "shelf:bought_decayed"]
        backfill_table(root, features, out, from_ms=0, to_ms=at_ms, features_module=str(module))
        await rebuild_online_store(system.bus, store, WorkerSettings())
        replayed = await _shelves(store, at_ms)
    finally:
        await store.close()

    assert backfilled == replayed
    assert set(replayed) == {"0", "1", "2"}
    assert all(replayed[shelf][0] > values[0] > 0 for shelf, values in before.items())
    rows = pl.read_parquet(out)
    assert {row[0]: [_rounded(value) for value in row[1:]] for row in rows.iter_rows()} == replayed
    shelves = pl.DataFrame({"shelf": [*replayed, "9"], "at_ms": at_ms})
    trained = training_set(shelves, features, archive=root, features_module=str(module)).collect()
    assert {row[0]: [_rounded(value) for value in row[2:]] for row in trained.iter_rows()} == {
        **replayed,
        "9": [0, 0, 0.0],
    }


async def _shelves(store: OnlineStore, at_ms: int) -> dict[str, list[Value]]:
    """Of each shelf: views and purchases of 24 h, and decayed purchases."""
    [names] = await store.send([("LRANGE", keys.ITEM_IDS, 0, -1)])
    registry = load_plugin(store.settings.features_module).registry
    found: dict[str, list[bytes]] = {}
    async for key, record in store.scan(b"u:*"):
        name = names[keys.split_item_key(key)[1]].decode()
        found.setdefault(name.removeprefix(keys.custom_name("shelf", "")), []).append(record)
    features = ["view_24h", "bought_24h", "bought_decayed"]
    return {
        shelf: [
            _rounded(value)
            for value in read_features("shelf", records, features, at_ms, name_of=str, registry=registry)
        ]
        for shelf, records in found.items()
    }
