"""`kill -9` of anything during a replay of real clicks: nothing is lost, nothing counts twice, the shop goes on."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import polars as pl
import pytest

from afterclick.pulsar_server import PulsarServer
from afterclick.settings import Settings
from feature_store.dump import Windows, dump_windows
from feature_store.online_store import OnlineStore
from ingest.archive_below import archived_below
from ingest.archive_reader import scan_archive
from ingest.bus import open_bus
from ingest.dedup import read_deduplicated
from ingest.topics import EVENTS
from loadtest.files import message_id, read_events
from loadtest.replay import replay
from loadtest.settings import ColumnNames, ReplayOptions
from loadtest.system import RunningSystem, running_system
from tests.integration.faults.disturbance import Kill, ShopWatch, disturb, kill_part

SEED = 20261123
KILLS_EACH = 3
PYTHON_PARTS = ("worker", "archive", "learner", "server-1", "server-2")
# Every record of the file must count, however old: the file is from 2014.
KEYS = "".join(
    f'{name} = "{value}"\n'
    for name, value in (("write_key", "w" * 16), ("secret_key", "s" * 16), ("visitor_secret", "0a" * 16))
)
SETTINGS = '[collector]\nlateness_max = "unlimited"\n[archive]\nflush = "500ms"\n'


def _clicks(tmp_path: Path, rows: int) -> Path:
    """The first `rows` clicks of a real shop, in a file of their own."""
    folder = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
    source = folder / "yoochoose_100k" / "events.parquet"
    assert source.exists(), f"the real clickstreams are wanted in {folder}; set AFTERCLICK_DATASETS"
    path = tmp_path / "clicks.parquet"
    pl.read_parquet(source).head(rows).write_parquet(path)
    return path


@asynccontextmanager
async def _system(tmp_path: Path, name: str, bus: str) -> AsyncIterator[RunningSystem]:
    config = tmp_path / "afterclick.toml"
    config.write_text(SETTINGS)
    # The same secret in both systems: visitors are compared by their keyed hash.
    (tmp_path / name).mkdir()
    (tmp_path / name / "keys.toml").write_text(KEYS)
    async with running_system(
        tmp_path / name, arguments=("--bus", bus, "--config", str(config)), ready_within_s=180
    ) as system:
        yield system


async def _replay(system: RunningSystem, clicks: Path) -> None:
    """Small batches, so that the replay is long enough to be disturbed."""
    report = await replay(
        ReplayOptions(
            file=clicks,
            api_url=system.url,
            write_key=system.keys.write_key,
            secret_key=system.keys.secret_key,
            speed="max",
            times="kept",
            batch_events_max=5,
            freshness_every=0,
            send_deadline_s=180,
            progress=False,
        )
    )
    assert (report.accepted, report.rejected) == (report.sent, {})


async def _until_equal(look: Callable[[], object], wanted: object, *, within_s: float) -> object:
    """What `look` gives once it is `wanted`, or at the deadline."""
    deadline_s = time.monotonic() + within_s
    while (seen := await asyncio.to_thread(look)) != wanted and time.monotonic() < deadline_s:
        await asyncio.sleep(0.5)
    return seen


def _archived_ids(system: RunningSystem) -> list[str]:
    return sorted(scan_archive(system.data_dir / "archive" / "events").select("message_id").collect()["message_id"])


async def _ids_on_the_bus(settings: Settings) -> list[str]:
    """A full read of `events`, its repeats dropped."""
    bus = await open_bus(settings.system.bus, settings.bus, below=archived_below(settings.archive_dir))
    try:
        ids = [
            event.message_id
            for partition in range(await bus.partitions(EVENTS))
            async for read in read_deduplicated(bus, EVENTS, partition, settings=settings.dedup, until_now=True)
            for event in read.events
        ]
    finally:
        await bus.close()
    return sorted(ids)


async def _windows(settings: Settings, at_ms: int) -> Windows:
    store = OnlineStore(settings.system.store, settings.store)
    try:
        return await dump_windows(store, at_ms)
    finally:
        await store.close()


async def _settled_windows(system: RunningSystem, at_ms: int, *, within_s: float) -> Windows:
    """The windows once every visitor's events are in them."""
    settings = msgspec.json.decode((system.data_dir / "run" / "settings.json").read_bytes(), type=Settings)
    deadline_s = time.monotonic() + within_s
    previous: Windows = {}
    while True:
        windows = await _windows(settings, at_ms)
        if windows == previous and windows:
            return windows
        assert time.monotonic() < deadline_s, "the windows did not come to rest"
        previous = windows
        await asyncio.sleep(3.0)


async def _undisturbed(tmp_path: Path, clicks: Path, at_ms: int) -> Windows:
    async with _system(tmp_path, "undisturbed", "embedded") as system:
        await _replay(system, clicks)
        return await _settled_windows(system, at_ms, within_s=120)


async def _disturbed(
    system: RunningSystem, clicks: Path, kills: dict[str, Kill], gap_s: tuple[float, float]
) -> ShopWatch:
    stop = asyncio.Event()
    watch = ShopWatch(system)
    watching = asyncio.create_task(watch.run(stop))
    replaying = asyncio.create_task(_replay(system, clicks))
    killed = await disturb(kills, times=KILLS_EACH, seed=SEED, gap_s=gap_s)
    assert not replaying.done(), f"the replay must outlast the kills; it ended before {killed[-1]} was killed"
    await replaying
    stop.set()
    await watching
    return watch


async def _check(system: RunningSystem, clicks: Path, watch: ShopWatch, expected: Windows, at_ms: int) -> None:
    file = read_events(clicks, columns=ColumnNames(), kinds={}, event_default="view_item", times_kept=True)
    sent_ids = sorted(message_id(file.digest, row.row) for row in file.rows())
    settings = msgspec.json.decode((system.data_dir / "run" / "settings.json").read_bytes(), type=Settings)

    archived = await _until_equal(lambda: _archived_ids(system), sent_ids, within_s=60)
    windows = await _settled_windows(system, at_ms, within_s=120)

    assert await _ids_on_the_bus(settings) == sent_ids
    assert archived == sent_ids
    assert windows.keys() == expected.keys()
    assert {name: value for name, value in windows.items() if value != expected[name]} == {}
    assert watch.statuses <= {200, 503}
    # Both servers are killed three times within seconds: now and then none is there for as long as a start takes.
    assert watch.answered > 3 * watch.unanswered
    assert watch.longest_gap_s < 20


def _last_ms(clicks: Path) -> int:
    return int(pl.read_parquet(clicks)["ts_ms"].max())  # type: ignore[arg-type]


@pytest.mark.faults
@pytest.mark.datasets
@pytest.mark.timeout(600)
async def test_any_part_may_be_killed_on_the_embedded_bus(tmp_path: Path) -> None:
    clicks = _clicks(tmp_path, 60_000)
    at_ms = _last_ms(clicks)
    expected = await _undisturbed(tmp_path, clicks, at_ms)

    async with _system(tmp_path, "disturbed", "embedded") as system:
        parts = (*PYTHON_PARTS, "valkey-bus", "valkey-store")
        kills = {name: kill_part(system.data_dir, name) for name in parts}
        watch = await _disturbed(system, clicks, kills, (0.3, 0.9))
        await _check(system, clicks, watch, expected, at_ms)


@pytest.mark.faults
@pytest.mark.datasets
@pytest.mark.pulsar
@pytest.mark.timeout(900)
async def test_any_part_may_be_killed_on_pulsar_the_broker_too(tmp_path: Path) -> None:
    clicks = _clicks(tmp_path, 60_000)
    at_ms = _last_ms(clicks)
    expected = await _undisturbed(tmp_path, clicks, at_ms)
    broker = await asyncio.to_thread(PulsarServer(tmp_path / "pulsar").start)

    async def kill_broker() -> None:
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)

    try:
        async with _system(tmp_path, "disturbed", broker.url) as system:
            kills = {name: kill_part(system.data_dir, name) for name in (*PYTHON_PARTS, "valkey-store")}
            watch = await _disturbed(system, clicks, {**kills, "broker": kill_broker}, (0.3, 0.9))
            await _check(system, clicks, watch, expected, at_ms)
    finally:
        await asyncio.to_thread(broker.stop)
