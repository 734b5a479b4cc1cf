"""Empty the archived events of erased visitors, where they lie.

A row keeps its place in the log, for the archive's chain of positions rests on the rows, and its times; all that tells
of the visitor or of what they did goes. It becomes a late page view of nobody, which no window and no model counts.
"""

from typing import Any, Final

import msgspec
import polars as pl
import structlog
from prometheus_client import Counter, Histogram

from ingest.archive_files import ArchiveFile, hour_folder
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import collected, list_place, scan_files
from ingest.archive_rows import SCHEMA
from ingest.identity import VISITOR_KEY_BYTES

SETTLE_MS: Final = 1_800_000
"""What was read just before an erasure is in a file, and a merge that had begun is done, after this long."""

NOBODY: Final = "0" * (2 * VISITOR_KEY_BYTES)
_NOTE: Final = "_erased.json"
_KEPT: Final = frozenset({"partition", "position", "accepted_at_ms", "time_ms", "received_at_ms"})
_BLANK: Final[dict[str, Any]] = {"visitor_key": NOBODY, "event": "page_view", "late": True}
_ROWS_A_GROUP = 100_000

_ROWS = Counter(
    "afterclick_ingest_archive_erased_rows_total", "Archived events emptied because their visitor was erased"
)
_SECONDS = Histogram("afterclick_ingest_archive_erasure_seconds", "One look through the archive for erased visitors")

_log = structlog.get_logger()


class ErasedUntil(msgspec.Struct, frozen=True):
    """`_erased.json`: every erasure up to this time is done in all files."""

    erased_at_ms: int = 0


class Eraser:
    """Works through the erasures of one archive; beside nobody else who merges its files."""

    def __init__(self, place: ArchivePlace, *, settle_ms: int = SETTLE_MS) -> None:
        self._place = place
        self._settle_ms = settle_ms
        self._done = _read_note(place)
        self._looked_for: frozenset[str] = frozenset()

    def turn(self, erased_at_ms: dict[str, int], *, now_ms: int) -> int:
        """Empty what belongs to `erased_at_ms` (time by visitor key, hexadecimal); returns how many rows that were.

        An erasure is worked on when it comes and, to find what was on its way into a file, again when it has settled.

        Raises:
            ArchiveError: the place cannot be used; call again.
        """
        pending = {key: at_ms for key, at_ms in erased_at_ms.items() if at_ms > self._done.erased_at_ms}
        settled = [at_ms for at_ms in pending.values() if now_ms - at_ms >= self._settle_ms]
        if not pending or (not settled and self._looked_for >= pending.keys()):
            return 0
        with _SECONDS.time():
            last = hour_folder(max(pending.values()))
            files = list_place(self._place)
            rows = sum(
                self._empty(file, pending) for file in (*files.files, *files.covered) if file.hour_folder <= last
            )
        self._looked_for = frozenset(pending)
        if settled:
            self._done = ErasedUntil(max(settled))
            aside = self._place.aside(_NOTE)
            aside.write_bytes(msgspec.json.encode(self._done))
            self._place.put_over(aside, _NOTE)
        return rows

    def _empty(self, file: ArchiveFile, erased_at_ms: dict[str, int]) -> int:
        hit = is_erased(erased_at_ms)
        found = scan_files(self._place, [file]).filter(hit).select(pl.len())
        rows: int = collected(self._place, found, of=file.name).item()
        if rows == 0:
            return 0
        aside = self._place.aside(file.name)
        scan_files(self._place, [file]).with_columns(emptied(hit)).sink_parquet(
            aside, compression="zstd", statistics=True, row_group_size=_ROWS_A_GROUP
        )
        self._place.put_over(aside, file.name)
        _ROWS.inc(rows)
        _log.info("emptied events of erased visitors", file=file.name, rows=rows)
        return rows


def is_erased(erased_at_ms: dict[str, int]) -> pl.Expr:
    """Of each archived row: does it name somebody who was erased after it came? As `Tombstones.hides`."""
    of_key = [
        pl.col(name).replace_strict(erased_at_ms, default=-1, return_dtype=pl.Int64).fill_null(-1)
        for name in ("visitor_key", "user_key")
    ]
    browser = pl.coalesce("browser_key", pl.col("rest").str.json_path_match("$.browser_key"))
    of_key.append(browser.replace_strict(erased_at_ms, default=-1, return_dtype=pl.Int64).fill_null(-1))
    return pl.max_horizontal(of_key) >= pl.col("received_at_ms")


def emptied(hit: pl.Expr) -> list[pl.Expr]:
    """Every column, without what rows that are a `hit` told."""
    columns = []
    for name, kind in SCHEMA.items():
        if name in _KEPT:
            continue
        blank = pl.lit(_BLANK.get(name), kind)
        if name == "message_id":
            blank = pl.concat_str(pl.lit("erased-"), pl.col("partition"), pl.lit("-"), pl.col("position"))
        elif isinstance(kind, pl.List):
            blank = pl.lit([], kind)
        columns.append(pl.when(hit).then(blank).otherwise(pl.col(name)).alias(name))
    return columns


def _read_note(place: ArchivePlace) -> ErasedUntil:
    note = place.read(_NOTE)
    return ErasedUntil() if note is None else msgspec.json.decode(note, type=ErasedUntil)
