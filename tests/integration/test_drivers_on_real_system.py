"""Replay, shoppers and load against the whole system, started as a user would."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest
import pytest_asyncio

from loadtest.client import Client
from loadtest.errors import KeyRefusedError
from loadtest.load import run_load
from loadtest.processes import pss_table, system_pids
from loadtest.replay import replay
from loadtest.settings import LoadOptions, ReplayOptions
from loadtest.shoppers import run_shoppers, synthetic_products
from loadtest.system import RunningSystem, running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSystem]:
    async with running_system(tmp_path_factory.mktemp("system")) as running:
        yield running


def clicks(path: Path) -> Path:
    """400 visitors who walk along a circle of 60 items, 6 steps each: what comes next can be learnt."""
    rng = random.Random(1)
    rows = []
    for visitor in range(400):
        start = rng.randrange(60)
        rows += [(f"walker-{visitor}", f"c{(start + step) % 60}", step * 60_000 + visitor) for step in range(6)]
    frame = pl.DataFrame(rows, schema=["visitor", "item", "order"], orient="row").sort("order")
    frame = frame.with_columns(pl.lit("view").alias("event"), pl.lit(9.5).alias("price"))
    frame.drop("order").write_csv(path)
    return path


async def test_a_replay_is_accepted_whole_and_what_is_served_is_scored(system: RunningSystem, tmp_path: Path) -> None:
    options = ReplayOptions(
        file=clicks(tmp_path / "clicks.csv"),
        api_url=system.url,
        write_key=system.keys.write_key,
        secret_key=system.keys.secret_key,
        ask_every=10,
        freshness_every=1,
        progress=False,
    )

    report = await replay(options)

    assert (report.rows, report.accepted, report.rejected) == (2400, 2400, {})
    assert report.products == 60
    assert report.asks is not None
    # On a crowded machine a budget of 200 ms may go by in the queue: that is a 503, and nothing else may go wrong.
    refused = report.asks.errors.get("503", 0)
    assert set(report.asks.errors) <= {"503"}
    assert refused < 24
    assert report.asks.hits["all"].asks + refused == 240
    assert sum(hits.asks for hits in report.asks.by_rung.values()) + refused == 240


async def test_a_second_run_changes_nothing(system: RunningSystem, tmp_path: Path) -> None:
    file = tmp_path / "again.csv"
    file.write_text("visitor,item\n" + "".join(f"again-{at % 40},c{at % 60}\n" for at in range(500)))
    options = ReplayOptions(file=file, api_url=system.url, write_key=system.keys.write_key, progress=False)
    applied = "afterclick_feature_store_events_applied_total"
    repeats = 'afterclick_ingest_repeats_total{reader="features"}'

    applied_at_first = await settled(system, applied)
    await replay(options)
    applied_once = await reaches(system, applied, applied_at_first + 500)
    repeats_once = await metric(system, repeats)
    again = await replay(options)
    await reaches(system, repeats, repeats_once + 500)

    assert again.accepted == 500
    assert await metric(system, applied) == applied_once == applied_at_first + 500


async def metric(system: RunningSystem, name: str) -> float:
    """The value of one counter at `/metrics`; 0 before it has counted."""
    async with Client(system.url, key=system.keys.secret_key) as client:
        lines = (await client.request("GET", "/metrics")).body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


async def reaches(system: RunningSystem, name: str, wanted: float) -> float:
    """Wait until a counter is at least `wanted`; its value then."""
    async with asyncio.timeout(60):
        while (value := await metric(system, name)) < wanted:
            await asyncio.sleep(0.1)
    return value


async def settled(system: RunningSystem, name: str) -> float:
    """Wait until a counter has stood still for a second: whatever was sent before has been counted."""
    async with asyncio.timeout(60):
        before = -1.0
        while (value := await metric(system, name)) != before:
            before = value
            await asyncio.sleep(1.0)
    return value


async def test_events_need_a_key_of_this_installation(system: RunningSystem, tmp_path: Path) -> None:
    options = ReplayOptions(
        file=clicks(tmp_path / "clicks.csv"), api_url=system.url, write_key="wrong", progress=False, limit=10
    )

    with pytest.raises(KeyRefusedError, match="key"):
        await replay(options)


async def test_history_older_than_allowed_needs_the_secret_key(system: RunningSystem, tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("ts_ms,visitor,item\n1600000000000,old,c1\n1600000001000,old,c2\n")
    options = {"file": file, "api_url": system.url, "write_key": system.keys.write_key, "progress": False}

    without = await replay(ReplayOptions(**options, times="kept"))
    with_it = await replay(ReplayOptions(**options, times="kept", secret_key=system.keys.secret_key))

    assert without.accepted == 0
    assert sum(without.rejected.values()) == 2
    assert with_it.accepted == 2


async def test_shoppers_are_shown_suggestions_and_follow_some(system: RunningSystem) -> None:
    products = synthetic_products(60, seed=3)
    stop = asyncio.Event()

    shopping = asyncio.create_task(
        run_shoppers(system.url, system.keys.write_key, products, 40.0, stop, seed=3, shoppers=30)
    )
    await asyncio.sleep(5)
    stop.set()
    report = await shopping

    assert report.rejected == {}
    assert report.failed == {}
    assert report.accepted == report.events > 40
    assert report.suggestions > 20


async def test_a_load_run_is_answered_and_knows_the_systems_processes(system: RunningSystem, tmp_path: Path) -> None:
    report = await run_load(
        LoadOptions(
            api_url=system.url,
            write_key=system.keys.write_key,
            secret_key=system.keys.secret_key,
            data_dir=system.data_dir,
            out=tmp_path / "out",
            events_per_s=20,
            recommendations_per_s=20,
            seconds=2.0,
            warmup_s=0.5,
            items=200,
            visitors=50,
            seed_events=500,
        )
    )

    asks, events = report.streams
    assert asks.errors == events.errors == {}
    assert (asks.requests, events.units) == (40, 40)
    assert report.system_cores > 0
    assert system.pid in {row.pid for row in report.memory}
    assert len(report.memory) >= 4
    assert {row.pid for row in pss_table(system_pids(system.url))} <= {row.pid for row in report.memory}


async def test_the_address_answers_without_a_key_only_what_is_for_all(system: RunningSystem) -> None:
    async with Client(system.url) as client:
        live = await client.request("GET", "/health/live")
        refused = await client.request("GET", "/v1/recommendations?visitor=v")

    assert (live.status, refused.status) == (200, 401)
