"""An archive in object storage: a name is put only where nothing lies yet, which is all that several writers need."""

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from ingest.archive_place import StoredFile
from ingest.errors import ArchiveError

_PROBES = "_probes"
_HTTP_ALLOWED = "aws_allow_http"


class ObjectPlace:
    """`url` is a bucket and a prefix. See `ArchivePlace`.

    Args:
        url: `s3://bucket/prefix`, `gs://…`, `az://…`.
        options: of the object store, by the names that polars takes too (`aws_endpoint_url`, `aws_region`,
            `aws_access_key_id`, …); what is not given comes from the environment.
    """

    def __init__(self, url: str, options: dict[str, str]) -> None:
        self.address = url.rstrip("/")
        self.storage_options: dict[str, str] | None = options
        self._asides = Path(tempfile.gettempdir())
        self._aside_prefix = f"afterclick-{secrets.token_hex(6)}"
        config: Any = {name: value for name, value in options.items() if name != _HTTP_ALLOWED}
        allow_http = options.get(_HTTP_ALLOWED, "false").lower() == "true"
        try:
            self._store = from_url(self.address, config=config, client_options={"allow_http": allow_http})
        except BaseError as error:
            raise ArchiveError(
                f"cannot use {self.address}: {_brief(error)}; see `url` and `options` in [archive]"
            ) from error

    def address_of(self, name: str) -> str:
        """The object's URL."""
        return f"{self.address}/{name}"

    def files(self, under: str = "", *, after: str = "") -> list[StoredFile]:
        """As `ArchivePlace.files`."""
        found = []
        try:
            for page in obstore.list(self._store, prefix=under or None, offset=after or None):
                found += [
                    StoredFile(listed["path"], listed["size"], int(listed["last_modified"].timestamp() * 1000))
                    for listed in page
                ]
        except (BaseError, OSError) as error:
            raise self._failed("list", under or "it", error) from error
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        """As `ArchivePlace.read`."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._failed("read", name, error) from error

    def aside(self, name: str) -> Path:
        """In the folder for temporary files."""
        return self._asides / f"{self._aside_prefix}-{name.replace('/', '~')}.tmp"

    def put_new(self, aside: Path, name: str) -> bool:
        """As `ArchivePlace.put_new`, whoever else writes there.

        A request that was sent again because its answer was lost may find its own object and say False: look then at
        what lies there.
        """
        try:
            obstore.put(self._store, name, aside, mode="create")
        except (AlreadyExistsError, FileExistsError):
            return False
        except (BaseError, OSError) as error:
            raise self._failed("write", name, error) from error
        finally:
            aside.unlink(missing_ok=True)
        return True

    def put_over(self, aside: Path, name: str) -> None:
        """As `ArchivePlace.put_over`."""
        try:
            obstore.put(self._store, name, aside, mode="overwrite")
        except (BaseError, OSError) as error:
            raise self._failed("write", name, error) from error
        finally:
            aside.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """As `ArchivePlace.delete`."""
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._failed("delete", name, error) from error

    @asynccontextmanager
    async def writing(self, *, wait_ms: int) -> AsyncIterator[None]:
        """As `ArchivePlace.writing`: anybody may write, if the store keeps a second one from taking a name."""
        del wait_ms
        probe = f"{_PROBES}/{secrets.token_hex(8)}"
        first, second = (self._put_probe(probe) for _ in range(2))
        self.delete(probe)
        if not first or second:
            raise ArchiveError(
                f"{self.address} does not keep a name that is taken (a PUT with If-None-Match: * went through twice): "
                "two writers could overwrite each other; use a store that does (Amazon S3, Google, Azure, MinIO, R2)"
            )
        yield

    def _put_probe(self, name: str) -> bool:
        aside = self.aside(name)
        aside.write_bytes(b"probe")
        return self.put_new(aside, name)

    def _failed(self, doing: str, name: str, error: Exception) -> ArchiveError:
        return ArchiveError(
            f"cannot {doing} {name} in {self.address}: {_brief(error)}; can it be reached, with this key?"
        )


def _brief(error: Exception) -> str:
    """Without the object store's trace, which has dozens of lines."""
    return str(error).partition("\n")[0]
