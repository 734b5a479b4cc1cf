"""Ordinary weeks are silent; what stops, rushes or costs a hundred times as much is told within a minute."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.stream_anomalies import (
    HOUR_MS,
    PriceWatch,
    Season,
    empty_season,
    forecast_per_minute,
    is_surge,
    stop_of,
    with_hour,
)

WEEK_H = 168
MONDAY_MS = 1_700_438_400_000 // HOUR_MS * HOUR_MS
DATASETS = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))


def counts_by_second(seconds: int, *, per_minute: float, seed: int = 3) -> np.ndarray:
    """A shop with quiet nights and busy evenings, whose visitors click three times in a minute or so."""
    rng = np.random.default_rng(seed)
    hour = np.arange(seconds) / 3600 % 24
    visits = rng.poisson(per_minute / 60 / 3 * (1 + 0.8 * np.sin((hour - 14) / 24 * 2 * np.pi)))
    clicks = rng.geometric(1 / 3, visits.sum())
    at = np.arange(seconds).repeat(visits).repeat(clicks) + rng.integers(0, 60, clicks.sum())
    return np.bincount(at[at < seconds], minlength=seconds).astype(float)


def learnt(seconds: np.ndarray, start_ms: int) -> Season:
    season = empty_season()
    for hour in range(len(seconds) // 3600):
        minutes = seconds[hour * 3600 : (hour + 1) * 3600].reshape(60, 60).sum(axis=1)
        season = with_hour(season, start_ms + hour * HOUR_MS, minutes)
    return season


def minutes_up_to(seconds: np.ndarray, end_s: int) -> np.ndarray:
    return seconds[end_s - 61 * 60 : end_s].reshape(61, 60).sum(axis=1)


def test_an_ordinary_week_is_silent_and_a_kind_that_stops_in_it_is_told_within_a_minute() -> None:
    seconds = counts_by_second(2 * WEEK_H * 3600, per_minute=120)
    week_s = WEEK_H * 3600
    season = learnt(seconds[:week_s], MONDAY_MS)

    for end_s in range(week_s, 2 * week_s, 300):
        assert stop_of(season, minutes_up_to(seconds, end_s), MONDAY_MS + end_s * 1000) is None
    stopped_s = week_s + 3 * 24 * 3600 + 18 * 3600
    seconds[stopped_s:] = 0
    told = [
        after_s
        for after_s in range(0, 61, 5)
        if stop_of(season, minutes_up_to(seconds, stopped_s + after_s), MONDAY_MS + (stopped_s + after_s) * 1000)
    ]

    assert told
    assert told[0] >= 20


def test_a_night_in_which_nothing_comes_is_no_stop() -> None:
    seconds = counts_by_second(2 * WEEK_H * 3600, per_minute=120)
    nights = (np.arange(len(seconds)) / 3600 % 24) < 6
    seconds[nights] = 0
    season = learnt(seconds[: WEEK_H * 3600], MONDAY_MS)

    for end_s in range(WEEK_H * 3600, (WEEK_H + 48) * 3600, 120):
        assert stop_of(season, minutes_up_to(seconds, end_s), MONDAY_MS + end_s * 1000) is None


def test_without_a_season_nothing_is_judged_and_two_days_give_a_first_one() -> None:
    assert forecast_per_minute(empty_season(), MONDAY_MS) is None

    season = learnt(counts_by_second(49 * 3600, per_minute=60), MONDAY_MS)

    assert (forecast_per_minute(season, MONDAY_MS + 60 * HOUR_MS) or 0) > 10


@pytest.mark.datasets
@pytest.mark.parametrize(
    "file",
    [
        "serenade_example/events.parquet",
        "yoochoose_100k/events.parquet",
        "uci_online_retail/events_to_2011-09-30.parquet",
    ],
)
def test_the_weeks_of_real_shops_are_silent(file: str) -> None:
    """Three weeks at most, a look every three minutes; every kind of event by itself."""
    events = pl.read_parquet(DATASETS / file, columns=["ts_ms", "event"]).sort("ts_ms")
    start_ms = events["ts_ms"][0] // HOUR_MS * HOUR_MS
    hours = min(21 * 24, int((events["ts_ms"][-1] - start_ms) // HOUR_MS))
    for kind in events["event"].unique().to_list():
        times = events.filter(pl.col("event") == kind)["ts_ms"].to_numpy()
        times = times[times < start_ms + hours * HOUR_MS]
        minutes = np.bincount((times - start_ms) // 60_000, minlength=hours * 60).astype(float)
        season = empty_season()
        for hour in range(hours):
            for end in range(max(61, hour * 60), (hour + 1) * 60, 3):
                assert stop_of(season, minutes[end - 61 : end], start_ms + end * 60_000) is None, (kind, end)
            season = with_hour(season, start_ms + hour * HOUR_MS, minutes[hour * 60 : (hour + 1) * 60])


def test_a_rush_is_on_an_item_and_not_on_the_shop() -> None:
    assert is_surge(80, 200, 2_000, shop_times=1.0)
    assert not is_surge(80, 200, 2_000, shop_times=6.0)
    assert not is_surge(80, 3_000, 60_000, shop_times=1.0)
    assert not is_surge(20, 20, 20, shop_times=1.0)


def test_a_misplaced_decimal_point_is_told_and_a_sale_is_not() -> None:
    watch = PriceWatch(items_max=100)
    for price in (12.5, 12.5, 11.9, 12.5, 12.75, 6.25, 12.5):
        assert watch.observe("mug", price) is None

    assert watch.observe("mug", 1250.0) is None
    assert watch.observe("mug", 1250.0) is None
    found = watch.observe("mug", 1250.0)

    assert found is not None
    assert (round(found.price), round(found.usual, 2)) == (1250, 12.5)
    assert watch.observe("mug", 12.5) is None


def test_an_item_whose_prices_always_scatter_is_left_alone() -> None:
    watch = PriceWatch(items_max=100)
    rng = np.random.default_rng(4)

    assert not any(watch.observe("postage", float(price)) for price in rng.lognormal(3, 1.2, 200)[:100])


@pytest.mark.datasets
def test_the_prices_of_ordinary_weeks_are_silent() -> None:
    """Eighteen weeks of a real shop after a first one; its stock only, not its postage and corrections."""
    sales = pl.read_parquet(DATASETS / "uci_online_retail/events_to_2011-09-30.parquet").sort("ts_ms")
    week_ms = 7 * 24 * HOUR_MS
    start_ms = sales["ts_ms"][0]
    sales = sales.filter(
        (pl.col("UnitPrice") > 0) & pl.col("item").str.contains(r"^\d{5}") & (pl.col("ts_ms") < start_ms + 19 * week_ms)
    )
    watch, told = PriceWatch(items_max=10_000), []
    for at_ms, item, price in sales.select("ts_ms", "item", "UnitPrice").iter_rows():
        found = watch.observe(item, price)
        if found is not None and at_ms >= start_ms + week_ms:
            told.append(found)

    assert told == []
