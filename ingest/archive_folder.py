"""An archive in a folder: files are written aside, synced and renamed; a lock keeps a second writer out."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ingest.archive_place import StoredFile
from ingest.errors import ArchiveError

_LOCK_POLL_S = 0.05


class FolderPlace:
    """The folder `root`; beside the archive's files it holds `_lock` and `_aside/`. See `ArchivePlace`."""

    storage_options: dict[str, str] | None = None

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def address_of(self, name: str) -> str:
        """The file's path."""
        return str(self.root / name)

    def files(self, under: str = "", *, after: str = "") -> list[StoredFile]:
        """As `ArchivePlace.files`."""
        found: list[StoredFile] = []
        for folder, folders, names in os.walk(self.root / under):
            inside = "" if Path(folder) == self.root else f"{Path(folder).relative_to(self.root).as_posix()}/"
            # What is in a folder sorts before the folder's name with the character after the slash.
            folders[:] = [name for name in folders if name != "_aside" and f"{inside}{name}0" > after]
            for name in names:
                if inside + name > after:
                    found += _stored(self.root, inside + name)
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        """As `ArchivePlace.read`."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", name, error) from error

    def aside(self, name: str) -> Path:
        """In the same file system, so that a rename moves it."""
        return self.root / "_aside" / f"{name.replace('/', '~')}.tmp"

    def put_new(self, aside: Path, name: str) -> bool:
        """As `ArchivePlace.put_new`: whole even after a power cut. Only whoever holds `writing` may call it."""
        try:
            if (self.root / name).exists():
                aside.unlink()
                return False
        except OSError as error:
            raise self._failed("write", name, error) from error
        self.put_over(aside, name)
        return True

    def put_over(self, aside: Path, name: str) -> None:
        """As `ArchivePlace.put_over`."""
        path = self.root / name
        try:
            with aside.open("rb+") as written:
                os.fsync(written.fileno())
            made = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(path)
            for folder in {path.parent, *(new.parent for new in made)}:
                _sync_folder(folder)
        except OSError as error:
            raise self._failed("write", name, error) from error

    def delete(self, name: str) -> None:
        """As `ArchivePlace.delete`; a folder that is empty then goes too."""
        path = self.root / name
        try:
            path.unlink(missing_ok=True)
            for folder in list(path.parents)[: len(Path(name).parents) - 1]:
                if any(folder.iterdir()):
                    break
                folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("delete", name, error) from error

    @asynccontextmanager
    async def writing(self, *, wait_ms: int) -> AsyncIterator[None]:
        """As `ArchivePlace.writing`. The kernel lets go of the lock when its holder dies, however it dies."""
        try:
            (self.root / "_aside").mkdir(parents=True, exist_ok=True)
            lock = (self.root / "_lock").open("a+")
        except OSError as error:
            raise self._failed("write", "_lock", error) from error
        with lock:
            await self._locked(lock.fileno(), wait_ms)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            for leftover in (self.root / "_aside").iterdir():
                leftover.unlink()
            yield

    async def _locked(self, descriptor: int, wait_ms: int) -> None:
        deadline_s = time.monotonic() + wait_ms / 1000
        while not _try_lock(descriptor):
            if time.monotonic() > deadline_s:
                holder = (self.root / "_lock").read_text().strip() or "unknown"
                raise ArchiveError(
                    f"the archive in {self.root} is held by another process (pid {holder}); "
                    "stop it, or give this one a --data-dir of its own"
                )
            await asyncio.sleep(_LOCK_POLL_S)

    def _failed(self, doing: str, name: str, error: OSError) -> ArchiveError:
        return ArchiveError(f"cannot {doing} {name} under {self.root}: {error}; make room or mend the permissions")


def _stored(root: Path, name: str) -> list[StoredFile]:
    try:
        found = (root / name).stat()
        return [StoredFile(name, found.st_size, found.st_mtime_ns // 1_000_000)]
    except FileNotFoundError:  # taken away while we looked
        return []


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
