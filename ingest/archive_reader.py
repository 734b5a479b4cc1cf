"""Read the archive: as a table for training, or as the deliveries it was written from."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from pathlib import Path

import polars as pl

from ingest.archive_files import ArchiveFile, archive_files, log_id_of
from ingest.archive_rows import SCHEMA, ArchivedEvent, events_of
from ingest.bus.contract import Delivery, Entry, Position, Start
from ingest.events import encode_event
from ingest.topics import EVENTS

_HIVE_SCHEMA = {"date": pl.String, "hour": pl.String}


def scan_archive(root: Path) -> pl.LazyFrame:
    """Every archived event, each once; columns of `archive_rows.SCHEMA` and `date`, `hour` of acceptance (UTC, text).

    `root` is the archive's folder. Files come in order of partition and position; an empty archive gives no rows.
    """
    files = [file.path for file in archive_files(root)]
    if not files:
        return pl.LazyFrame(schema={**SCHEMA, **_HIVE_SCHEMA})
    # An older file lacks the columns that were added since, a newer one has more than this reader knows.
    return pl.scan_parquet(
        files,
        schema=SCHEMA,
        hive_schema=_HIVE_SCHEMA,
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
    )


async def read_archived(
    root: Path, partition: int, *, start: Start = "earliest", end: Position | None = None
) -> AsyncIterator[Delivery]:
    """One partition's archived events as deliveries, packed as they were.

    What deduplication dropped is not in the archive, nor are entries that were no event. Ends where the archive ends,
    files that came while reading included.

    Args:
        start: as `Bus.read`: an end, after a position, or at a time of acceptance.
        end: stop before this position.
    """
    log_id = log_id_of(root)
    if log_id is None or start == "latest":
        return
    after = start if isinstance(start, Position) else None
    from_ms = start if isinstance(start, int) else 0
    while files := _files_between(root, partition, after, end):
        for file in files:
            rows = await asyncio.to_thread(_rows_between, file, after, end, from_ms)
            after = file.last
            for delivery in _deliveries(rows, log_id):
                yield delivery


def _files_between(root: Path, partition: int, after: Position | None, end: Position | None) -> list[ArchiveFile]:
    return [
        file
        for file in archive_files(root, partition)
        if (after is None or file.last > after) and (end is None or file.first < end)
    ]


def _rows_between(file: ArchiveFile, after: Position | None, end: Position | None, from_ms: int) -> pl.DataFrame:
    wanted = pl.col("accepted_at_ms") >= from_ms
    if after is not None and after >= file.first:
        wanted &= pl.col("position") > str(after)
    if end is not None and end <= file.last:
        wanted &= pl.col("position") < str(end)
    scan = pl.scan_parquet(file.path, schema=SCHEMA, missing_columns="insert", extra_columns="ignore")
    return scan.filter(wanted).collect()


def _deliveries(rows: pl.DataFrame, log_id: int) -> Iterator[Delivery]:
    for _, pack in groupby(events_of(rows), key=lambda row: (row.position.major, row.position.minor)):
        first, *others = pack
        yield Delivery(
            topic=EVENTS.name,
            partition=first.partition,
            log_id=log_id,
            accepted_at_ms=first.accepted_at_ms,
            entries=tuple(map(_entry, (first, *others))),
        )


def _entry(row: ArchivedEvent) -> Entry:
    event = row.event
    return Entry(bytes.fromhex(event.visitor_key), encode_event(event), event.time_ms, row.position)
