import asyncio
from pathlib import Path

import polars as pl
import pytest

from loadtest.load import run_load, run_saturation
from loadtest.settings import LoadOptions, SaturationOptions
from loadtest.shoppers import run_shoppers, synthetic_products


def options(url: str, out: Path, **more) -> LoadOptions:
    asked = {"events_per_s": 100, "recommendations_per_s": 50, "seconds": 1.0, "warmup_s": 0.2, "items": 100} | more
    return LoadOptions(
        api_url=url, write_key="w", secret_key="s", out=out, visitors=20, seed_events=100, title="A try", **asked
    )


async def test_holds_its_rates_and_writes_a_report(server, tmp_path: Path) -> None:
    server.suggested = lambda _visitor: ["x"] * 20

    report = await run_load(options(server.url, tmp_path / "out"))

    asks, events = report.streams
    assert (asks.requests, events.units) == (50, 100)
    assert asks.errors == events.errors == {}
    assert asks.rungs == {"blend": 60}
    assert len(server.products) == 100
    assert len({event["message_id"] for event in server.events}) == len(server.events) == 220
    text = (tmp_path / "out" / "report.md").read_text()
    assert "# A try" in text
    assert "(latency-percentiles.svg)" in text
    assert (tmp_path / "out" / "latency-percentiles.svg").read_text().startswith("<?xml")
    assert (tmp_path / "out" / "report.json").exists()


async def test_a_stall_is_felt_by_all_who_should_have_come_during_it(server, tmp_path: Path) -> None:
    server.stall_at = 20

    # One connection: whoever comes during the stall waits in the driver, and the wait is in the latency.
    report = await run_load(options(server.url, tmp_path, events_per_s=0, connections=1, plots=False))

    asks = report.streams[0]
    assert asks.latency.max_ms >= 450
    assert asks.latency.p90_ms >= 200
    assert asks.start_delay.p90_ms >= 200
    assert asks.service.p50_ms < 200
    assert asks.requests == 50


async def test_errors_are_counted_by_status(server, tmp_path: Path) -> None:
    server.suggested = lambda _visitor: ["x"]
    seeding = options(server.url, tmp_path, recommendations_per_s=0, warmup_s=0.0, plots=False)
    server.rejects = lambda event: None if len(server.events) <= 100 else "nonsense"

    report = await run_load(seeding)

    assert report.streams[0].errors == {"422": 100}
    assert report.streams[0].latency.count == 0


async def test_a_file_of_real_clicks_can_be_the_source(server, tmp_path: Path) -> None:
    file = tmp_path / "clicks.csv"
    pl.DataFrame({"visitor": ["a", "b"], "item": ["i1", "i2"]}).write_csv(file)

    await run_load(options(server.url, tmp_path, source=str(file), plots=False))

    assert {event["anonymous_id"] for event in server.events} == {"a", "b"}
    assert len({event["message_id"] for event in server.events}) == len(server.events)
    assert {ask["visitor"] for ask in server.asks} == {"a", "b"}


async def test_saturation_asks_again_as_soon_as_it_is_answered(server, tmp_path: Path) -> None:
    report = await run_saturation(
        SaturationOptions(
            api_url=server.url, write_key="w", out=tmp_path, seconds=0.5, warmup_s=0.1, connections=4, items=100
        )
    )

    asks = report.streams[0]
    assert asks.requests > 50
    assert asks.short_lists == sum(asks.rungs.values())
    assert asks.answered_per_s == pytest.approx(asks.requests / 0.5)


async def test_shoppers_send_clicks_see_suggestions_and_follow_some(server) -> None:
    products = synthetic_products(60, seed=1)
    server.suggested = lambda _visitor: [product["item_id"] for product in products[:10]]
    stop = asyncio.Event()

    shopping = asyncio.create_task(run_shoppers(server.url, "w", products, 150.0, stop, seed=1, shoppers=40))
    async with asyncio.timeout(30):
        while not any(event["event"] == "select_item" for event in server.events):
            await asyncio.sleep(0.05)
        stop.set()
        report = await shopping

    lists = [event for event in server.events if event["event"] == "view_item_list"]
    assert lists
    assert all(event["recommendation_id"] == "r1" for event in lists)
    assert report.followed >= 1
    assert report.rejected == {}
    assert report.failed == {}


async def test_shoppers_outlast_a_server_that_refuses(server) -> None:
    server.refusals = [(404, {}), (503, {"Retry-After": "0"})]
    stop = asyncio.Event()

    shopping = asyncio.create_task(
        run_shoppers(server.url, "w", synthetic_products(20), 50.0, stop, seed=1, shoppers=20)
    )
    async with asyncio.timeout(30):
        while len(server.events) < 20:
            await asyncio.sleep(0.05)
        stop.set()
        report = await shopping

    assert report.failed == {"RequestRefusedError": 1}
    assert report.accepted >= 20
