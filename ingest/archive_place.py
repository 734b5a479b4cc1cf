"""Where an archive lies: one contract for a folder and for object storage, and which of them a URL means."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from ingest.errors import ArchiveError


class StoredFile(NamedTuple):
    """A file in place: its name below the archive's root, with `/` between folders, its size, and since when."""

    name: str
    size_bytes: int
    since_ms: int


class ArchivePlace(Protocol):
    """Files that appear whole or not at all, and of which a name is given once; only an erasure ever replaces one.

    Every method raises ArchiveError when the place cannot be used; nothing is half done then.
    """

    @property
    def address(self) -> str:
        """What a person calls it: the folder or the URL."""
        ...

    @property
    def storage_options(self) -> dict[str, str] | None:
        """What polars needs beside `address_of` to read a file; None for a folder."""
        ...

    def address_of(self, name: str) -> str:
        """Path or URL of a file, as polars and DuckDB take it."""
        ...

    def files(self, under: str = "", *, after: str = "") -> list[StoredFile]:
        """What is in place below the folder `under`, sorted by name; only names that sort after `after`."""
        ...

    def read(self, name: str) -> bytes | None:
        """The whole of one small file; None when it is not there."""
        ...

    def aside(self, name: str) -> Path:
        """Where the file that `put_new` will put in place is written first; nothing there counts."""
        ...

    def put_new(self, aside: Path, name: str) -> bool:
        """Put a file in place, durably; False, and no change, when `name` is taken. `aside` is gone afterwards."""
        ...

    def put_over(self, aside: Path, name: str) -> None:
        """Put a file in place of the one that is there, durably; a reader sees the one or the other, whole."""
        ...

    def delete(self, name: str) -> None:
        """Take a file away; no matter when it is gone already."""
        ...

    def writing(self, *, wait_ms: int) -> AbstractAsyncContextManager[None]:
        """Held by whoever writes; sweeps away what a killed writer left half done.

        Raises:
            ArchiveError: another writer is there and stayed for `wait_ms`, or the place keeps no promise.
        """
        ...


def open_place(address: str | Path, options: Mapping[str, str] | None = None) -> ArchivePlace:
    """`s3://bucket/prefix`, `gs://…`, `az://…` with the options of the object store, or a folder (`file://` or a path).

    Raises:
        ArchiveError: another scheme, or options that the object store does not know.
    """
    from ingest.archive_folder import FolderPlace

    text = str(address)
    scheme = text.partition("://")[0] if "://" in text else "file"
    if scheme == "file":
        return FolderPlace(Path(text.removeprefix("file://")))
    if scheme in {"s3", "gs", "az"}:
        # 15 MB resident; only where it is used.
        from ingest.archive_objects import ObjectPlace

        return ObjectPlace(text, dict(options or {}))
    raise ArchiveError(
        f"an archive lies in a folder or under s3://, gs:// or az://, got {scheme}://; set `url` in [archive]"
    )


def place_of(root: "Path | ArchivePlace") -> ArchivePlace:
    """`root` itself, or the folder it names."""
    return open_place(root) if isinstance(root, Path) else root
