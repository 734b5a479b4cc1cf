import time
from pathlib import Path

import polars as pl
import pytest

from loadtest.errors import InputFileError, KeyRefusedError, ServerUnavailableError
from loadtest.replay import replay
from loadtest.settings import ReplayOptions

START_MS = 1_600_000_000_000


def clicks(path: Path, rows: int = 1_000, visitors: int = 7) -> Path:
    frame = pl.DataFrame(
        {
            "ts_ms": [START_MS + 1_000 * at for at in range(rows)],
            "visitor": [f"v{at * at % visitors}" for at in range(rows)],
            "item": [f"i{at % 50}" for at in range(rows)],
            "event": ["view"] * rows,
            "title": [f"Item {at % 50}" for at in range(rows)],
        }
    )
    frame.write_parquet(path)
    return path


def options(file: Path, url: str, **more) -> ReplayOptions:
    return ReplayOptions(file=file, api_url=url, write_key="w", progress=False, lanes=4, **more)


async def test_every_row_is_sent_once_and_each_visitor_in_order(server, tmp_path: Path) -> None:
    report = await replay(options(clicks(tmp_path / "c.parquet"), server.url, batch_events_max=10))

    assert (report.rows, report.sent, report.accepted, report.resent) == (1000, 1000, 1000, 0)
    assert len({event["message_id"] for event in server.events}) == 1000
    for visitor in {event["anonymous_id"] for event in server.events}:
        rows = [int(e["message_id"].split("-")[1]) for e in server.events if e["anonymous_id"] == visitor]
        assert rows == sorted(rows)
    assert server.overlaps == 0


async def test_a_second_run_sends_the_same_ids(server, tmp_path: Path) -> None:
    file = clicks(tmp_path / "c.parquet", rows=50)

    await replay(options(file, server.url))
    await replay(options(file, server.url, times="kept"))

    assert len(server.events) == 100
    assert len({event["message_id"] for event in server.events}) == 50


async def test_503_is_waited_out_as_long_as_it_says_and_nothing_is_lost(server, tmp_path: Path) -> None:
    server.refusals = [(503, {"Retry-After": "1"}), (429, {"Retry-After": "0"})]
    start_s = time.monotonic()

    report = await replay(options(clicks(tmp_path / "c.parquet", rows=20, visitors=1), server.url))

    assert time.monotonic() - start_s >= 1.0
    assert report.accepted == 20
    assert report.resent == 40
    assert report.retries == {"503": 1, "429": 1}


async def test_a_lost_connection_is_sent_again(server, tmp_path: Path) -> None:
    server.hang_ups = 2

    report = await replay(options(clicks(tmp_path / "c.parquet", rows=20, visitors=1), server.url))

    assert report.accepted == 20
    assert report.retries == {"connection": 2}


async def test_gives_up_at_the_deadline_and_says_what_to_do(server, tmp_path: Path) -> None:
    server.refusals = [(503, {"Retry-After": "60"})]

    with pytest.raises(ServerUnavailableError, match="run the same command"):
        await replay(options(clicks(tmp_path / "c.parquet", rows=5), server.url, send_deadline_s=2.0))


async def test_a_refused_key_stops_the_replay(server, tmp_path: Path) -> None:
    server.refusals = [(401, {})] * 9

    with pytest.raises(KeyRefusedError, match="told to"):
        await replay(options(clicks(tmp_path / "c.parquet", rows=5), server.url))


async def test_rejected_events_are_counted_by_code(server, tmp_path: Path) -> None:
    server.rejects = lambda event: "too_late" if event["items"][0]["item_id"] == "i3" else None

    report = await replay(options(clicks(tmp_path / "c.parquet", rows=100), server.url))

    assert (report.sent, report.accepted, report.rejected) == (100, 98, {"too_late": 2})


async def test_an_ask_comes_after_the_visitors_earlier_events_and_before_its_own(server, tmp_path: Path) -> None:
    server.suggested = lambda _visitor: ["x", "i9"]

    report = await replay(
        options(clicks(tmp_path / "c.parquet", rows=100, visitors=1), server.url, ask_every=10, settle_ms=0)
    )

    asked_after = [at for at, (what, _) in enumerate(server.order) if what == "ask"]
    assert asked_after == [9 + 11 * at for at in range(10)]
    assert report.asks is not None
    assert report.asks.hits["all"].asks == 10
    assert report.asks.hits["all"].hr == pytest.approx(0.2)  # i9 is the target of rows 9 and 59
    assert report.asks.hits["all"].mrr == pytest.approx(0.1)
    assert list(report.asks.by_rung) == ["blend"]


async def test_the_catalogue_is_filled_first_with_the_secret_key(server, tmp_path: Path) -> None:
    report = await replay(options(clicks(tmp_path / "c.parquet", rows=100), server.url, secret_key="s"))

    assert report.products == 50
    assert {"item_id": "i3", "title": "Item 3"} in server.products
    assert ("/v1/catalog", "Bearer s") in server.keys
    assert ("/v1/events", "Bearer w") in server.keys


async def test_kept_times_are_the_files_own_and_go_with_the_secret_key(server, tmp_path: Path) -> None:
    await replay(options(clicks(tmp_path / "c.parquet", rows=30), server.url, times="kept", secret_key="s"))

    stamps = {int(event["message_id"].split("-")[1]): event["timestamp"] for event in server.events}
    assert stamps == {at: START_MS + 1_000 * at for at in range(30)}
    assert {key for path, key in server.keys if path == "/v1/events"} == {"Bearer s"}


async def test_a_numeric_speed_keeps_the_files_gaps(server, tmp_path: Path) -> None:
    start_ms = time.time() * 1000

    report = await replay(
        options(clicks(tmp_path / "c.parquet", rows=30), server.url, times="scaled", speed=29.0, freshness_every=0)
    )

    stamps = [event["timestamp"] for event in sorted(server.events, key=lambda e: e["timestamp"])]
    assert report.seconds >= 1.0
    assert stamps[-1] - stamps[0] == pytest.approx(1000, abs=2)
    assert abs(stamps[-1] - start_ms - 1000) < 5_000


async def test_times_that_are_not_there_cannot_be_kept(server, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("session,item\na,1\na,2\n")

    with pytest.raises(InputFileError, match="--times arrival"):
        await replay(options(file, server.url, times="kept"))

    assert server.events == []
