"""Does a training set take more memory when the archive is larger, and how many rows a second does it make?

Question: peak memory for the same number of rows over an archive of H and of 4 H hours; and the CPU it takes.
Budget: the larger archive takes at most a tenth more memory.
Method: a process for each archive, whose peak resident size is read when it has written all rows to a file of Parquet;
its size before the first row is given beside it.
Data: as `bench_backfill`; rows ask of the visitor and the item of a view, 10 ms after it.

    python benchmarks/bench_training_set.py [--hours 2] [--events-an-hour 200000] [--rows 5000]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import polars as pl
import psutil
from bench_backfill import make_archive

from feature_store.kernels import compile_all
from feature_store.training import training_set
from ingest.archive_reader import scan_archive

FEATURES = ["visitor:view_1h", "visitor:cart_pieces", "visitor:since_view_ms", "item:view_24h", "item:conversion"]
VISITORS = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--events-an-hour", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=5_000)
    options = parser.parse_args()
    for hours in (options.hours, 4 * options.hours):
        with tempfile.TemporaryDirectory() as folder:
            make_archive(Path(folder) / "archive", hours, options.events_an_hour, VISITORS)
            entity_rows(Path(folder), options.rows)
            with multiprocessing.get_context("spawn").Pool(1, compile_all) as pool:
                print(
                    f"training_set hours={hours} events={hours * options.events_an_hour} "
                    + pool.apply(measure, (folder,))
                )


def entity_rows(folder: Path, count: int) -> None:
    """`count` views, the item and the visitor of each."""
    views = (
        scan_archive(folder / "archive").filter(event="view_item").select("visitor_key", "item_id", "time_ms").collect()
    )
    sample = views.sample(count, seed=1)
    rows = sample.select(visitor="visitor_key", item=pl.col("item_id").list.first(), at_ms=pl.col("time_ms") + 10)
    rows.write_parquet(folder / "rows.parquet")


def measure(folder: str) -> str:
    before_mib = psutil.Process().memory_info().rss / 2**20
    cpu_s = time.process_time()
    rows = pl.scan_parquet(Path(folder) / "rows.parquet")
    training_set(rows, FEATURES, archive=Path(folder) / "archive").sink_parquet(Path(folder) / "training.parquet")
    cpu_s = time.process_time() - cpu_s
    made = pl.scan_parquet(Path(folder) / "training.parquet").select(pl.len()).collect().item()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"rows={made} cpu_s={cpu_s:.1f} start_mib={before_mib:.0f} peak_mib={peak_mib:.0f}"


if __name__ == "__main__":
    main()
