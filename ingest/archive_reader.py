"""Read the archive: as a table for training, or as the deliveries it was written from."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from ingest.archive_files import ArchiveFile, Listing, hour_folder, list_archive, log_id_of
from ingest.archive_place import ArchivePlace, place_of
from ingest.archive_rows import SCHEMA, ArchivedEvent, events_of
from ingest.bus.contract import Delivery, Entry, Position, Start
from ingest.errors import ArchiveError
from ingest.events import encode_event
from ingest.topics import EVENTS

_HIVE_SCHEMA = {"date": pl.String, "hour": pl.String}
_MISSES_MAX = 3


def scan_archive(root: Path | ArchivePlace) -> pl.LazyFrame:
    """Every archived event, each once; columns of `archive_rows.SCHEMA` and `date`, `hour` of acceptance (UTC, text).

    Files come in order of partition and position; an empty archive gives no rows. Collect it within
    `archive.keep_small_ms` (ten minutes): by then small files that are in the lake are taken away.

    Raises:
        ArchiveError: the place cannot be read.
    """
    place = place_of(root)
    return scan_files(place, list_place(place).files, hive=True)


def scan_files(place: ArchivePlace, files: Sequence[ArchiveFile], *, hive: bool = False) -> pl.LazyFrame:
    """The rows of some files, in their order; with `hive` the columns `date` and `hour` too."""
    schema = {**SCHEMA, **_HIVE_SCHEMA} if hive else SCHEMA
    if not files:
        return pl.LazyFrame(schema=schema)
    # An older file lacks the columns that were added since, a newer one has more than this reader knows.
    return pl.scan_parquet(
        [place.address_of(file.name) for file in files],
        schema=SCHEMA,
        hive_schema=_HIVE_SCHEMA if hive else None,
        hive_partitioning=hive,
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=place.storage_options,
    )


def collected(place: ArchivePlace, rows: pl.LazyFrame, *, of: str) -> pl.DataFrame:
    """The rows of the archive's files, read.

    Args:
        place: where they lie.
        rows: made of `scan_files`.
        of: which files, in words, for the error.

    Raises:
        FileNotFoundError: one is not there any more.
        ArchiveError: one cannot be read, for now or at all.
    """
    try:
        return rows.collect()
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArchiveError(
            f"cannot read {of} in {place.address}: {str(error).strip().splitlines()[0]}; can it be reached, with this "
            "key, and is it a whole Parquet file?"
        ) from error


def list_place(place: ArchivePlace, partition: int | None = None, *, after: str = "") -> Listing:
    """As `archive_files.list_archive`."""
    return list_archive(place, last_position, partition, after=after)


def last_position(place: ArchivePlace, file: ArchiveFile) -> Position:
    """The last position in a file; reads that column alone.

    Raises:
        FileNotFoundError, ArchiveError: as `collected`.
    """
    last: str = collected(place, scan_files(place, [file]).select(pl.col("position").max()), of=file.name).item()
    return Position.parse(last)


def archived_positions(root: Path | ArchivePlace) -> dict[int, Position]:
    """By partition, the position up to which everything is in the archive."""
    place = place_of(root)
    newest = {file.partition: file for file in list_place(place).files}
    return {partition: last_position(place, file) for partition, file in newest.items()}


async def read_archived(
    root: Path | ArchivePlace, partition: int, *, start: Start = "earliest", end: Position | None = None
) -> AsyncIterator[Delivery]:
    """One partition's archived events as deliveries, packed as they were.

    What deduplication dropped is not in the archive, nor are entries that were no event. Ends where the archive ends,
    files that came while reading included.

    Args:
        root: the archive's folder or place.
        partition: of `events`.
        start: as `Bus.read`: an end, after a position, or at a time of acceptance.
        end: stop before this position.

    Raises:
        ArchiveError: the place cannot be read.
    """
    place = place_of(root)
    log_id = await asyncio.to_thread(log_id_of, place)
    if log_id is None or start == "latest":
        return
    after = start if isinstance(start, Position) else None
    from_ms = start if isinstance(start, int) else 0
    read: set[str] = set()
    misses = 0
    while files := await asyncio.to_thread(_files_between, place, partition, after, end, from_ms, read):
        for file in files:
            try:
                rows = await asyncio.to_thread(_rows_between, place, file, after, end, from_ms)
            except FileNotFoundError as error:
                # It went into the lake since we listed, and we were slow: list again, and go on from where we are.
                misses += 1
                if misses > _MISSES_MAX:
                    raise ArchiveError(f"{place.address_of(file.name)} was listed and is not there") from error
                break
            read.add(file.name)
            for delivery in _deliveries(rows, log_id):
                yield delivery
                after = delivery.last


def _files_between(
    place: ArchivePlace, partition: int, after: Position | None, end: Position | None, from_ms: int, read: set[str]
) -> list[ArchiveFile]:
    """What is left to read: of the files that begin at or before `after`, only the last can hold more."""
    oldest = hour_folder(from_ms) if from_ms else ""
    files = [
        file
        for file in list_place(place, partition, after=oldest).files
        if file.hour_folder >= oldest and (end is None or file.first < end)
    ]
    begun = [file for file in files if after is not None and file.first <= after]
    return [file for file in [*begun[-1:], *files[len(begun) :]] if file.name not in read]


def _rows_between(
    place: ArchivePlace, file: ArchiveFile, after: Position | None, end: Position | None, from_ms: int
) -> pl.DataFrame:
    wanted = pl.col("accepted_at_ms") >= from_ms
    if after is not None:
        wanted &= pl.col("position") > str(after)
    if end is not None:
        wanted &= pl.col("position") < str(end)
    return collected(place, scan_files(place, [file]).filter(wanted), of=file.name)


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
