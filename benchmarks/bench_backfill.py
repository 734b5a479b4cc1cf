"""How many archived events does a backfill replay a second?

Question: events a second from Parquet to finished records, on two cores, with the records of all five entities; and
what a table costs, the reading of its values included.
Budget: at least 500,000 events/s on two cores, so 4 µs of CPU an event.
Method: two processes share out the partitions; each is started and its kernels are loaded before the clock runs. Wall
time is from the first row to the last record; CPU is the processes' own, so the figure stands on a busy machine too.
Data: seeded; visits of 8 events within ten minutes by visitors drawn uniformly, items Zipf 1.1 over 10,000, 70 % views,
the rest carts, purchases, searches, impressions of 8 items; a fifth of them behind a suggestion; 8 partitions.

    python benchmarks/bench_backfill.py [--hours 6] [--events-an-hour 400000] [--visitors 200000]
"""

import argparse
import multiprocessing
import tempfile
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from feature_store.asked_features import FAMILY_OF_ENTITY
from feature_store.backfill_table import backfill_table
from feature_store.kernels import compile_all
from feature_store.replay import Replay
from feature_store.touch_columns import COLUMNS, Names
from ingest.archive_files import claim_log, file_name, hour_folder
from ingest.archive_folder import FolderPlace
from ingest.archive_hours import ArchiveHours
from ingest.archive_rows import SCHEMA
from ingest.bus.contract import Position

SEED, ITEMS_COUNT, PARTITIONS, VISIT, LOG_ID = 11, 10_000, 8, 8, 7
HOUR_MS = 3_600_000
START_MS = 1_784_000_000_000 // HOUR_MS * HOUR_MS
NAMES = np.array(["view_item", "add_to_cart", "purchase", "search", "view_item_list", "remove_from_cart"])
SHARES = (0.70, 0.10, 0.05, 0.05, 0.08, 0.02)


class Done(NamedTuple):
    """What one process did; times of the machine's monotonic clock."""

    events: int
    cpu_s: float
    began_s: float
    ended_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument("--events-an-hour", type=int, default=400_000)
    parser.add_argument("--visitors", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "archive"
        make_archive(root, options.hours, options.events_an_hour, options.visitors)
        measure_replay(root, options.visitors)
        for features in (["item:view_24h", "item:conversion"], ["visitor:view_1h", "visitor:cart_pieces"]):
            out, to_ms = Path(folder) / "table.parquet", START_MS + options.hours * HOUR_MS
            done = backfill_table(root, features, out, from_ms=0, to_ms=to_ms, processes=2)
            print(
                f"table features={','.join(features)} events={done.events} entities={done.entities} "
                f"seconds={done.seconds:.1f} events_per_s={done.events / done.seconds:.0f}"
            )


def measure_replay(root: Path, visitors: int) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, compile_all) as pool:
        done = pool.map(replay, [(root, range(first, PARTITIONS, 2)) for first in range(2)], chunksize=1)
    events, cpu_s = sum(part.events for part in done), sum(part.cpu_s for part in done)
    wall_s = max(part.ended_s for part in done) - min(part.began_s for part in done)
    print(
        f"replay events={events} visitors={visitors} entities={len(FAMILY_OF_ENTITY)} processes=2 wall_s={wall_s:.2f} "
        f"events_per_s={events / wall_s:.0f} cpu_us_per_event={cpu_s / events * 1e6:.2f} "
        f"events_per_s_of_two_free_cores={2 * events / cpu_s:.0f}"
    )


def replay(told: tuple[Path, range]) -> Done:
    root, partitions = told
    began_s, cpu_s, events = time.monotonic(), time.process_time(), 0
    for partition in partitions:
        hours = ArchiveHours(FolderPlace(root), partition)
        records = Replay(list(FAMILY_OF_ENTITY), Names(), log_id=LOG_ID, future_ms_max=HOUR_MS)
        for hour_ms in hours.hours_ms:
            records.apply(hours.rows(hour_ms, partition, COLUMNS))
        events += records.events
    return Done(events, time.process_time() - cpu_s, began_s, time.monotonic())


def make_archive(root: Path, hours: int, events_an_hour: int, visitors: int) -> None:
    """Files as the archive leaves them when an hour is over."""
    rng = np.random.default_rng(SEED)
    place = FolderPlace(root)
    place.aside("x").parent.mkdir(parents=True)
    claim_log(place, topic="events", log_id=LOG_ID)
    visitor_keys = [rng.bytes(16) for _ in range(visitors)]
    of_visitor = pl.DataFrame(
        {
            "visitor_key": [key.hex() for key in visitor_keys],
            "partition": pl.Series([zlib.crc32(key) % PARTITIONS for key in visitor_keys], dtype=pl.Int32),
        }
    )
    popularity = np.cumsum(1 / np.arange(1, ITEMS_COUNT + 1) ** 1.1)
    for hour in range(hours):
        rows = hour_of_events(rng, START_MS + hour * HOUR_MS, events_an_hour, of_visitor, popularity)
        for partition in range(PARTITIONS):
            put(place, rows.filter(partition=partition), partition)


def hour_of_events(
    rng: np.random.Generator, begins_ms: int, count: int, of_visitor: pl.DataFrame, popularity: np.ndarray
) -> pl.DataFrame:
    visits = count // VISIT
    visitor = np.repeat(rng.integers(0, len(of_visitor), visits), VISIT)
    time_ms = begins_ms + np.repeat(rng.integers(0, HOUR_MS - 600_000, visits), VISIT)
    time_ms += rng.integers(0, 600_000, len(visitor))
    order = np.argsort(time_ms, kind="stable")
    event = NAMES[rng.choice(len(NAMES), len(visitor), p=SHARES)]
    lines = np.select([event == "view_item_list", event == "search"], [8, 0], 1)
    item = np.searchsorted(popularity, rng.random(lines.sum()) * popularity[-1])
    of_event = (
        pl.DataFrame({"n": np.repeat(np.arange(len(event)), lines), "item": item})
        .with_columns(
            item_id=pl.format("item-{}", "item"),
            quantity=pl.lit(1, pl.Int32),
            price=(pl.col("item") % 500 + 1).cast(pl.Float64) * 1.25,
            item_category=pl.format("category-{}", pl.col("item") % 40),
        )
        .group_by("n", maintain_order=True)
        .agg("item_id", "quantity", "price", "item_category")
    )
    suggested = rng.random(len(event)) < 0.2
    attribution = [{"placement": "home", "served_ms": 1, "variant": "", "rules": 0, "model_ms": 0, "foreign": []}]
    rows = of_visitor[visitor[order]].with_columns(
        n=np.arange(len(event)),
        event=event,
        time_ms=time_ms[order],
        attribution=pl.Series(attribution, dtype=SCHEMA["attribution"])[[0] * len(event)],
        suggested=suggested,
    )
    rows = rows.join(of_event, on="n", how="left", maintain_order="left").with_columns(
        attribution=pl.when("suggested").then("attribution"),
        message_id=pl.format("message-{}-{}", pl.lit(begins_ms), "n"),
        session_id=pl.format("session-{}", pl.col("n") // VISIT),
        accepted_at_ms=pl.col("time_ms") + 20,
        received_at_ms=pl.col("time_ms") + 5,
        late=pl.lit(False),
    )
    empty = [pl.col(name).fill_null(pl.lit([], SCHEMA[name])) for name in of_event.columns[1:]]
    return rows.with_columns(empty)


def put(place: FolderPlace, rows: pl.DataFrame, partition: int) -> None:
    accepted_ms = rows["accepted_at_ms"].to_list()
    positions = [str(Position(at_ms, n, 0)) for n, at_ms in enumerate(accepted_ms)]
    rows = rows.with_columns(position=pl.Series(positions))
    columns = [
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in SCHEMA.items()
    ]
    name = file_name(hour_folder(accepted_ms[0]), partition, Position.parse(positions[0]))
    aside = place.aside(name)
    rows.select(columns).write_parquet(aside, compression="zstd", row_group_size=100_000)
    place.put_new(aside, name)


if __name__ == "__main__":
    main()
