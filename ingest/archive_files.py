"""What the archive's files are called, and which of them count.

The archive's root (`<data-dir>/archive/events`, or a URL) holds

    date=…/hour=…/p<partition>-<first position>.parquet           the lake: large files, there for good
    _recent/date=…/hour=…/p<partition>-<first position>.parquet   small files, not in the lake yet or just gone there
    _log.json                                                     of which log all this is

A file holds one partition's events from its first position on, all accepted in one hour. Its name tells only where it
begins: whoever goes on from the same place makes the same name, and a place gives a name once. The files of a partition
are thus one chain, whoever wrote them, and no event is in two of them. `docs/archive.md` has the protocol.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import PurePosixPath

import msgspec

from ingest.archive_place import ArchivePlace, StoredFile
from ingest.bus.contract import Position
from ingest.errors import ArchiveError, LogMismatchError

RECENT = "_recent"
_LAKE_BEGINS = "date="
_LOG_NOTE = "_log.json"


class ArchiveFile(msgspec.Struct, frozen=True, order=True):
    """One Parquet file: entries of one partition from `first` on."""

    partition: int
    first: Position
    name: str
    size_bytes: int
    since_ms: int

    @property
    def recent(self) -> bool:
        """Is it one of the small ones?"""
        return self.name.startswith(RECENT)

    @property
    def hour_folder(self) -> str:
        """`date=…/hour=…`, of the lake."""
        return PurePosixPath(self.name.removeprefix(f"{RECENT}/")).parent.as_posix()

    @classmethod
    def parse(cls, stored: StoredFile) -> "ArchiveFile":
        """Read a name made by `file_name`.

        Raises:
            ArchiveError: it is no such name.
        """
        try:
            # Files of an earlier release say in their names where they end, too.
            partition, *position = PurePosixPath(stored.name).stem.split("-")[:4]
            first = Position.parse("-".join(position))
            return cls(int(partition.removeprefix("p")), first, *stored)
        except ValueError as error:
            raise ArchiveError(
                f"{stored.name} is named like no file of the archive (p<partition>-<first position>.parquet); "
                "move it out of the archive"
            ) from error


class Listing(msgspec.Struct, frozen=True):
    """The files in place, each part in order of partition and position.

    `covered`: small files whose events are in the lake; they only wait to be taken away.
    """

    lake: list[ArchiveFile]
    recent: list[ArchiveFile]
    covered: list[ArchiveFile]

    @property
    def files(self) -> list[ArchiveFile]:
        """Every event once, in order of partition and position."""
        return sorted([*self.lake, *self.recent])


LastOf = Callable[[ArchivePlace, ArchiveFile], Position]
"""The last position in a file."""


class LogNote(msgspec.Struct, frozen=True):
    """`_log.json`: whose positions the file names speak of."""

    topic: str
    log_id: str
    """16 hexadecimal digits."""


def hour_folder(accepted_at_ms: int) -> str:
    """`date=YYYY-MM-DD/hour=HH` of acceptance, in UTC."""
    hour = datetime.fromtimestamp(accepted_at_ms / 1000, UTC)
    return f"date={hour:%Y-%m-%d}/hour={hour:%H}"


def file_name(folder: str, partition: int, first: Position) -> str:
    """`<folder>/p<partition>-<first>.parquet`."""
    return f"{folder}/p{partition}-{first}.parquet"


def list_archive(place: ArchivePlace, last_of: LastOf, partition: int | None = None, *, after: str = "") -> Listing:
    """What is in place (of one partition).

    The small files are listed first: one that is taken away meanwhile is then surely found in the lake.

    Args:
        place: where the archive lies.
        last_of: asked for at most one file of each partition.
        partition: only this one.
        after: leave out what lies in the lake before this name, as far as it covers no small file.
    """
    recent = _parsed(place.files(RECENT), partition)
    after = min([after, *(f"{file.hour_folder}/" for file in recent)]) if after else ""
    lake = _parsed(place.files(after=max(after, _LAKE_BEGINS)), partition)
    covered = [file for found in _by_partition(recent) for file in _covered(place, found, lake, last_of)]
    names = {file.name for file in covered}
    return Listing(lake, [file for file in recent if file.name not in names], covered)


def _parsed(stored: Iterable[StoredFile], partition: int | None) -> list[ArchiveFile]:
    files = (ArchiveFile.parse(found) for found in stored if found.name.endswith(".parquet"))
    return sorted(file for file in files if partition is None or file.partition == partition)


def _by_partition(files: list[ArchiveFile]) -> list[list[ArchiveFile]]:
    return [list(group) for _, group in groupby(files, key=lambda file: file.partition)]


def _covered(
    place: ArchivePlace, recent: list[ArchiveFile], lake: list[ArchiveFile], last_of: LastOf
) -> list[ArchiveFile]:
    """Of one partition's small files those that the lake reaches past."""
    partition = recent[0].partition
    newest = max((file for file in lake if file.partition == partition), default=None)
    if newest is None:
        return []
    covered = [file for file in recent if file.first <= newest.first]
    if len(covered) < len(recent):
        last = last_of(place, newest)
        covered += [file for file in recent[len(covered) :] if file.first <= last]
    return covered


def log_id_of(place: ArchivePlace) -> int | None:
    """The log the archive is of, or None before its first start."""
    noted = place.read(_LOG_NOTE)
    return None if noted is None else int(msgspec.json.decode(noted, type=LogNote).log_id, 16)


def claim_log(place: ArchivePlace, *, topic: str, log_id: int) -> None:
    """Note the log at the first start; refuse another one later.

    Raises:
        LogMismatchError: the place holds another log.
    """
    known = log_id_of(place)
    if known is None:
        aside = place.aside(_LOG_NOTE)
        aside.write_bytes(msgspec.json.encode(LogNote(topic, f"{log_id:016x}")))
        place.put_new(aside, _LOG_NOTE)
        known = log_id_of(place)
    if known != log_id:
        raise LogMismatchError(
            f"the archive in {place.address} is of log {known or 0:016x} of {topic}, the bus holds log {log_id:016x}: "
            "the bus was wiped or is another one. Move the archive away, or start with another --data-dir"
        )
