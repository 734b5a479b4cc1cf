"""Put small files behind what each partition has in the archive already, so that every event is there once."""

import time
from collections.abc import Sequence

from prometheus_client import Counter

from ingest.archive_files import RECENT, file_name, hour_folder
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import last_position, list_place
from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position

_LOST = Counter("afterclick_ingest_archive_races_lost_total", "Files that another archive had put in place first")
_DAY_MS = 86_400_000


class ArchiveChain:
    """The ends of the partitions' chains as this process knows them, and since when it knows them.

    Rows that begin right after the end of the chain make the same name whoever writes them, and a name is given once:
    that keeps two writers apart. It holds while the end is known since the partition came to this writer (`forget`)
    and while names stay taken. Small files do for `keep_small_ms` after the lake has their events; so knowledge half as
    old is got anew, and a file that took so long to put that its name may have become free is not trusted.
    """

    def __init__(self, place: ArchivePlace, *, keep_small_ms: int) -> None:
        self._place = place
        self._trusted_s = keep_small_ms / 1000
        self._ends: dict[int, Position] = {}
        self._known_since_s: float | None = None
        self._newest_ms: int | None = None

    def forget(self) -> None:
        """A partition came to this writer: what others did with it until now has to be looked up."""
        self._known_since_s = None

    def end(self, partition: int) -> Position | None:
        """Everything of the partition up to here is in the archive; None: nothing is."""
        if self._known_since_s is None or time.monotonic() - self._known_since_s > self._trusted_s / 2:
            self._look()
        return self._ends.get(partition)

    def append(self, partition: int, rows: Sequence[ArchivedEvent], *, last: Position) -> int | None:
        """Put the rows, all of one hour and after `end`, in place as one file; the file's size in bytes.

        None: another writer was there first, and `end` may be further than before.

        Args:
            partition: of all rows.
            rows: in order of position, at least one.
            last: how far the log was read for them; what lies between the last row and it were repeats.

        Raises:
            ArchiveError: the place cannot be written.
            OSError: there is no room to write the file aside.
        """
        folder = hour_folder(rows[0].accepted_at_ms)
        name = file_name(f"{RECENT}/{folder}", partition, rows[0].position)
        aside = self._place.aside(name)
        rows_of(rows).write_parquet(aside, compression="zstd", statistics=True)
        size_bytes = aside.stat().st_size
        known_since_s = self._known_since_s or 0.0
        is_new = self._place.put_new(aside, name)
        if not is_new or time.monotonic() - known_since_s > self._trusted_s:
            _LOST.inc()
            self._look()
            return None
        self._ends[partition] = last
        self._newest_ms = max(self._newest_ms or 0, rows[-1].accepted_at_ms)
        return size_bytes

    def _look(self) -> None:
        """Learn where the chains end: from everything the first time, then from the last day on."""
        since_s = time.monotonic()
        after = "" if self._newest_ms is None else hour_folder(self._newest_ms - _DAY_MS)
        newest = {file.partition: file for file in list_place(self._place, after=after).files}
        for partition, file in newest.items():
            known = self._ends.get(partition)
            if known is None or file.first > known:
                self._ends[partition] = last_position(self._place, file)
            else:
                self._ends[partition] = max(known, last_position(self._place, file))
        self._known_since_s = since_s
