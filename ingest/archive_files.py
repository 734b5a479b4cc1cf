"""Where the archive's files lie, what their names say, and who may write there.

The archive's folder (`root`, `<data-dir>/archive/events`) holds `date=…/hour=…/*.parquet` and, beside them, its own
`_log.json`, `_lock` and `_aside/`.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ingest.bus.contract import Position
from ingest.errors import ArchiveError, LogMismatchError

_LOCK_POLL_S = 0.05


class ArchiveFile(msgspec.Struct, frozen=True, order=True):
    """One Parquet file: all entries of one partition from `first` to `last`, both inclusive."""

    partition: int
    first: Position
    last: Position
    path: Path

    @classmethod
    def parse(cls, path: Path) -> "ArchiveFile":
        """Read a name made by `file_path`.

        Raises:
            ArchiveError: it is no such name.
        """
        try:
            partition, *parts = path.stem.split("-")
            first, last = Position.parse("-".join(parts[:3])), Position.parse("-".join(parts[3:]))
            return cls(int(partition.removeprefix("p")), first, last, path)
        except ValueError as error:
            raise ArchiveError(
                f"{path} is named like no file of the archive (p<partition>-<first position>-<last position>.parquet); "
                "move it out of the archive's folder"
            ) from error


class LogNote(msgspec.Struct, frozen=True):
    """`_log.json`: whose positions the file names speak of."""

    topic: str
    log_id: str
    """16 hexadecimal digits."""


def file_path(root: Path, *, accepted_at_ms: int, partition: int, first: Position, last: Position) -> Path:
    """`<root>/date=…/hour=…/p<partition>-<first>-<last>.parquet`, by the hour of acceptance in UTC."""
    hour = datetime.fromtimestamp(accepted_at_ms / 1000, UTC)
    return root / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}" / f"p{partition}-{first}-{last}.parquet"


def aside_folder(root: Path) -> Path:
    """Where files are written before they are renamed into place; nothing in it counts."""
    return root / "_aside"


def archive_files(root: Path, partition: int | None = None) -> list[ArchiveFile]:
    """Every file in place (of one partition), in order of position."""
    name = "p*.parquet" if partition is None else f"p{partition}-*.parquet"
    return sorted(ArchiveFile.parse(path) for path in root.glob(f"date=*/hour=*/{name}"))


def archived_positions(root: Path) -> dict[int, Position]:
    """By partition, the position up to which everything is in the archive."""
    return {file.partition: file.last for file in archive_files(root)}


def log_id_of(root: Path) -> int | None:
    """The log the archive is of, or None before its first start."""
    try:
        return int(msgspec.json.decode((root / "_log.json").read_bytes(), type=LogNote).log_id, 16)
    except FileNotFoundError:
        return None


def claim_log(root: Path, *, topic: str, log_id: int) -> None:
    """Note the log at the first start; refuse another one later.

    Raises:
        LogMismatchError: the folder holds another log.
    """
    known = log_id_of(root)
    if known is None:
        aside = aside_folder(root) / "_log.json"
        aside.write_bytes(msgspec.json.encode(LogNote(topic, f"{log_id:016x}")))
        put_in_place(aside, root / "_log.json")
    elif known != log_id:
        raise LogMismatchError(
            f"the archive in {root} is of log {known:016x} of {topic}, the bus holds log {log_id:016x}: the bus was "
            "wiped or is another one. Move the archive's folder away, or start with another --data-dir"
        )


def put_in_place(aside: Path, path: Path) -> None:
    """Rename a written file so that it, whole, outlasts a power cut."""
    with aside.open("rb+") as written:
        os.fsync(written.fileno())
    made = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.replace(path)
    for folder in {path.parent, *(new.parent for new in made)}:
        _sync_folder(folder)


@asynccontextmanager
async def sole_writer(root: Path, *, wait_ms: int) -> AsyncIterator[None]:
    """Keep every other archive process out of the folder; sweep away what a killed one left half-written.

    A paused writer that wakes after another took its partitions over would write the same events under other names.
    The kernel lets go of the lock when its holder dies, however it dies.

    Raises:
        ArchiveError: another process held the folder for all of `wait_ms`.
    """
    aside_folder(root).mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + wait_ms / 1000
    with (root / "_lock").open("a+") as lock:
        while not _try_lock(lock.fileno()):
            if time.monotonic() > deadline_s:
                lock.seek(0)
                raise ArchiveError(
                    f"the archive in {root} is held by another process (pid {lock.read().strip() or 'unknown'}); "
                    "stop it, or give this one a --data-dir of its own"
                )
            await asyncio.sleep(_LOCK_POLL_S)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for leftover in aside_folder(root).iterdir():
            leftover.unlink()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
