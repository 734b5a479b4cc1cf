"""Merge small files into large ones, so that no reader ever sees an event twice or not at all.

A large file is put in place whole, under the name that only this merge can have; from then on the small ones it was
made of are covered and count for nobody. They are taken away later, when readers that had listed them are done. Killed
between any two steps, the next turn goes on.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby

import structlog
from prometheus_client import Counter, Gauge, Histogram

from ingest.archive_files import ArchiveFile, file_name, list_archive
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import last_position, scan_files
from ingest.bus.contract import Position
from ingest.settings import ArchiveSettings

_HOUR_MS = 3_600_000
_HOUR_SETTLES_MS = 60_000
_ROWS_A_GROUP = 100_000
_NOTHING = "~"
"""Sorts after every name of the lake."""

_MERGED = Counter("afterclick_ingest_archive_merged_files_total", "Small files whose events went into the lake")
_LAKE_FILES = Counter("afterclick_ingest_archive_lake_files_total", "Large files put in place")
_LAKE_BYTES = Counter("afterclick_ingest_archive_lake_bytes_total", "Bytes of the large files put in place")
_WAITING = Gauge(
    "afterclick_ingest_archive_small_files", "Small files whose events are not in the lake", multiprocess_mode="max"
)
_SECONDS = Histogram("afterclick_ingest_archive_compaction_seconds", "One look through small files, with its merges")

_log = structlog.get_logger()


class Compactor:
    """Looks through the small files of one archive; any number may work on it at once."""

    def __init__(self, place: ArchivePlace, settings: ArchiveSettings) -> None:
        self._place = place
        self._settings = settings
        self._covered_since_s: dict[str, float] = {}
        self._lasts: dict[str, Position] = {}

    def turn(self, *, now_ms: int) -> None:
        """Merge what is due at `now_ms`, and take away what has been covered for long enough.

        Raises:
            ArchiveError: the place cannot be used; call again.
        """
        with _SECONDS.time():
            listing = list_archive(self._place, self._last_of, after=_NOTHING)
            _WAITING.set(len(listing.recent))
            for files in due_merges(listing.recent, self._settings, now_ms=now_ms):
                self._merge(files)
            self._take_away(listing.covered, time.monotonic())

    def _merge(self, files: list[ArchiveFile]) -> None:
        first = files[0]
        name = file_name(first.hour_folder, first.partition, first.first)
        aside = self._place.aside(name)
        try:
            scan_files(self._place, files).sink_parquet(
                aside, compression="zstd", statistics=True, row_group_size=_ROWS_A_GROUP
            )
        except FileNotFoundError:
            # Another archive merged them and has taken them away since we listed.
            aside.unlink(missing_ok=True)
            return
        size_bytes = aside.stat().st_size
        if self._place.put_new(aside, name):
            _MERGED.inc(len(files))
            _LAKE_FILES.inc()
            _LAKE_BYTES.inc(size_bytes)
            _log.info("merged into the lake", file=name, small_files=len(files), size_bytes=size_bytes)

    def _take_away(self, covered: list[ArchiveFile], now_s: float) -> None:
        since = {file.name: self._covered_since_s.get(file.name, now_s) for file in covered}
        over = [name for name, since_s in since.items() if now_s - since_s >= self._settings.keep_small_ms / 1000]
        for name in over:
            self._place.delete(name)
            del since[name]
        self._covered_since_s = since

    def _last_of(self, place: ArchivePlace, file: ArchiveFile) -> Position:
        if file.name not in self._lasts:
            # One a partition is asked for at a time: the newest.
            self._lasts = {name: last for name, last in self._lasts.items() if not _same_partition(name, file.name)}
            self._lasts[file.name] = last_position(place, file)
        return self._lasts[file.name]


def due_merges(recent: list[ArchiveFile], settings: ArchiveSettings, *, now_ms: int) -> Iterator[list[ArchiveFile]]:
    """Which small files go into the lake now, each list as one file; of a partition always the oldest first.

    Args:
        recent: in order of partition and position, none of them covered.
        settings: `compact_bytes` and `compact_wait_ms`.
        now_ms: Unix time.
    """
    for _, of_partition in groupby(recent, key=lambda file: file.partition):
        merges = list(_merges(list(of_partition), settings.compact_bytes))
        yield from merges[:-1]
        if merges and _is_due(merges[-1], settings, now_ms):
            yield merges[-1]


def _merges(files: list[ArchiveFile], bytes_max: int) -> Iterator[list[ArchiveFile]]:
    """Runs of one hour, cut where they come to `bytes_max`."""
    for _, of_hour in groupby(files, key=lambda file: file.hour_folder):
        merge: list[ArchiveFile] = []
        for file in of_hour:
            merge.append(file)
            if sum(part.size_bytes for part in merge) >= bytes_max:
                yield merge
                merge = []
        if merge:
            yield merge


def _is_due(files: list[ArchiveFile], settings: ArchiveSettings, now_ms: int) -> bool:
    return (
        sum(file.size_bytes for file in files) >= settings.compact_bytes
        or now_ms - files[0].since_ms >= settings.compact_wait_ms
        or now_ms >= _end_ms(files[0].hour_folder) + _HOUR_SETTLES_MS
    )


def _end_ms(folder: str) -> int:
    hour = datetime.strptime(folder, "date=%Y-%m-%d/hour=%H").replace(tzinfo=UTC)
    return int(hour.timestamp() * 1000) + _HOUR_MS


def _same_partition(one: str, other: str) -> bool:
    return one.rsplit("/", 1)[-1].split("-", 1)[0] == other.rsplit("/", 1)[-1].split("-", 1)[0]
