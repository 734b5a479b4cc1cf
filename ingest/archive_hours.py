"""The archive hour by hour: for readers who go through all of it and hold only an hour."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from ingest.archive_files import ArchiveFile
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import list_place, scan_files
from ingest.errors import ArchiveError

_TRIES = 3


class ArchiveHours:
    """What lies in each hour of acceptance, as listed once.

    Within a partition hours are in order of position: where a clock was set back over the hour, what lies later in the
    log counts to the later hour.
    """

    def __init__(self, place: ArchivePlace, partition: int | None = None) -> None:
        self._place = place
        self._partition = partition
        self._files = self._listed()

    @property
    def hours_ms(self) -> list[int]:
        """When each hour that holds something begins, Unix ms, ascending."""
        return sorted({hour_ms for hour_ms, _ in self._files})

    @property
    def partitions(self) -> list[int]:
        """The partitions that hold something, ascending."""
        return sorted({partition for _, partition in self._files})

    def size_bytes(self, partition: int) -> int:
        """How much a partition's files come to."""
        return sum(file.size_bytes for (_, of), files in self._files.items() if of == partition for file in files)

    def rows(self, hour_ms: int, partition: int, columns: Sequence[str], where: pl.Expr | None = None) -> pl.DataFrame:
        """An hour's rows of one partition, in order of position.

        Raises:
            ArchiveError: the place cannot be read.
        """
        for _ in range(_TRIES):
            files = self._files.get((hour_ms, partition), [])
            scan = scan_files(self._place, files)
            try:
                return (scan if where is None else scan.filter(where)).select(columns).collect()
            except FileNotFoundError:
                # Small files went into the lake since we listed; the hour holds the same events and perhaps more.
                self._files |= self._listed()
        raise ArchiveError(
            f"files of {self._place.address} were taken away while they were read; is a retention at work?"
        )

    def _listed(self) -> dict[tuple[int, int], list[ArchiveFile]]:
        found: dict[tuple[int, int], list[ArchiveFile]] = {}
        newest: dict[int, int] = {}
        for file in list_place(self._place, self._partition).files:
            hour_ms = max(_begins_ms(file.hour_folder), newest.get(file.partition, 0))
            newest[file.partition] = hour_ms
            found.setdefault((hour_ms, file.partition), []).append(file)
        return found


def _begins_ms(folder: str) -> int:
    return int(datetime.strptime(folder, "date=%Y-%m-%d/hour=%H").replace(tzinfo=UTC).timestamp() * 1000)
