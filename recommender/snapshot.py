"""A model as one checksummed file: item ids, arrays, parameters and the positions in the logs that it includes."""

import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.errors import SnapshotRefusedError
from recommender.model_parameters import ModelParameters

SUFFIX = ".snapshot"
_MAGIC = b"AFTERCLICK-MODEL1"
_DIGEST_BYTES = 16
_HEADER_BYTES_MAX = 16_000_000
_IDS = "item_ids"

_refused = Counter("afterclick_recommender_snapshots_refused_total", "Model files that could not be trusted")
_log = structlog.get_logger(__name__)


class SnapshotMeta(msgspec.Struct, frozen=True):
    """What a snapshot says of itself.

    Attributes:
        version: the `model_version`; deltas of the topic `model` under this version go on top of it.
        checkpoint: counts the files written under one version; 0 is the one that was announced.
        made_at_ms: Unix milliseconds.
        events_log_id, events_positions: the log `events` and, per partition, the last position included, as
            `str(Position)`.
        model_log_id, model_position: the log `model` and an entry before every delta not included (None: its begin).
        sequence: the last delta of the version whose effect is included.
        parameters: of the models, as they were trained and must be served.
        data_from_ms, data_to_ms: time of the oldest event that a refit would learn from, and of the newest learnt.
        items, events: how many; events are those learnt in all.
        metrics: how well the model foretold what came, on the newest sampled events: `hr@20`, `mrr@20`, `targets`.
    """

    version: str
    checkpoint: int
    made_at_ms: int
    events_log_id: int
    events_positions: dict[int, str]
    model_log_id: int
    model_position: str | None
    sequence: int = 0
    parameters: ModelParameters = ModelParameters()
    data_from_ms: int = 0
    data_to_ms: int = 0
    items: int = 0
    events: int = 0
    metrics: dict[str, float] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """A model at rest: `item_ids` in row order, and every block's arrays by `block.name`."""

    meta: SnapshotMeta
    item_ids: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]


class _Section(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    length_bytes: int
    digest: str


class _Header(msgspec.Struct, frozen=True):
    meta: SnapshotMeta
    sections: tuple[_Section, ...]


def file_name(meta: SnapshotMeta) -> str:
    """Names sort as versions and checkpoints do."""
    return f"{meta.version}.{meta.checkpoint:08d}{SUFFIX}"


def write_snapshot(folder: Path, snapshot: Snapshot) -> Path:
    """Write aside, flush to disk, rename: a crash leaves the older files or this one, never half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    blobs = [(_IDS, "json", (len(snapshot.item_ids),), msgspec.json.encode(snapshot.item_ids))]
    blobs += [(name, array.dtype.str, array.shape, _bytes(array)) for name, array in snapshot.arrays.items()]
    sections = tuple(_Section(name, dtype, shape, len(raw), _digest(raw).hex()) for name, dtype, shape, raw in blobs)
    header = msgspec.json.encode(_Header(snapshot.meta, sections))
    final = folder / file_name(snapshot.meta)
    aside = final.with_suffix(".aside")
    with aside.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(4, "little") + _digest(header) + header)
        for *_, raw in blobs:
            file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(final)
    return final


def read_snapshot(path: Path, *, without: tuple[str, ...] = ()) -> Snapshot:
    """Load and check a file; blocks named in `without` are skipped (their bytes must be there, unchecked).

    Raises:
        SnapshotRefusedError: it cannot be read, is truncated, altered or of another form; the message names it.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path, without)
    except OSError as error:
        raise SnapshotRefusedError(f"snapshot {path.name}: wanted a readable file; got {error.strerror}") from error


def read_meta(path: Path) -> SnapshotMeta:
    """What a file says of itself, its blocks unread.

    Raises:
        SnapshotRefusedError: as `read_snapshot`, as far as the header tells.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file, path).meta
    except OSError as error:
        raise SnapshotRefusedError(f"snapshot {path.name}: wanted a readable file; got {error.strerror}") from error


def version_of(path: Path) -> str:
    """The version in a snapshot's file name."""
    return path.name.removesuffix(SUFFIX).rpartition(".")[0]


def newest_snapshot(folder: Path, *, without: tuple[str, ...] = (), version: str | None = None) -> Snapshot | None:
    """The newest snapshot that can be trusted; those that cannot are logged by name, counted and passed over.

    `version`: of this one alone.
    """
    for path in snapshot_paths(folder):
        if version is not None and version_of(path) != version:
            continue
        try:
            return read_snapshot(path, without=without)
        except SnapshotRefusedError as error:
            _refused.inc()
            _log.warning("snapshot refused; trying the one before it", file=path.name, reason=str(error))
    return None


def snapshot_paths(folder: Path) -> Iterator[Path]:
    """Every snapshot of `folder`, newest first."""
    return iter(sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.name, reverse=True))


def prune_snapshots(folder: Path, *, keep: int, versions: int = 0, spare: str | None = None) -> None:
    """Delete what is no longer wanted, and what an interrupted write left aside.

    Args:
        keep: so many newest files stay.
        versions: of so many newest versions the newest file stays, so that an older model can be served again.
        spare: a version whose newest file stays whatever its age.
    """
    paths = list(snapshot_paths(folder))
    newest: dict[str, Path] = {}
    for path in paths:
        newest.setdefault(version_of(path), path)
    kept = {*paths[:keep], *list(newest.values())[:versions]}
    if spare in newest:
        kept.add(newest[spare])
    for path in [*(path for path in paths if path not in kept), *folder.glob("*.aside")]:
        path.unlink(missing_ok=True)


def _read(file: BinaryIO, path: Path, without: tuple[str, ...]) -> Snapshot:
    header = _read_header(file, path)
    begin = file.tell()
    wanted_bytes = begin + sum(section.length_bytes for section in header.sections)
    got_bytes = os.fstat(file.fileno()).st_size
    if got_bytes != wanted_bytes:
        raise SnapshotRefusedError(f"snapshot {path.name} is truncated: wanted {wanted_bytes} bytes; got {got_bytes}")
    item_ids: tuple[str, ...] = ()
    arrays: dict[str, NDArray[Any]] = {}
    for section in header.sections:
        if section.name.split(".", 1)[0] in without:
            file.seek(section.length_bytes, os.SEEK_CUR)
            continue
        raw = file.read(section.length_bytes)
        if _digest(raw).hex() != section.digest:
            raise SnapshotRefusedError(f"snapshot {path.name} is altered: block `{section.name}` has another checksum")
        if section.name == _IDS:
            item_ids = msgspec.json.decode(raw, type=tuple[str, ...])
        else:
            arrays[section.name] = np.frombuffer(raw, dtype=section.dtype).reshape(section.shape)
    return Snapshot(header.meta, item_ids, arrays)


def _read_header(file: BinaryIO, path: Path) -> _Header:
    start = file.read(len(_MAGIC) + 4 + _DIGEST_BYTES)
    if not start.startswith(_MAGIC) or len(start) < len(_MAGIC) + 4 + _DIGEST_BYTES:
        raise SnapshotRefusedError(f"snapshot {path.name}: wanted a file that begins {_MAGIC!r}; got {start[:17]!r}")
    length = int.from_bytes(start[len(_MAGIC) : len(_MAGIC) + 4], "little")
    raw = file.read(min(length, _HEADER_BYTES_MAX))
    if _digest(raw) != start[-_DIGEST_BYTES:]:
        raise SnapshotRefusedError(f"snapshot {path.name} is altered or truncated: its header has another checksum")
    try:
        return msgspec.json.decode(raw, type=_Header)
    except msgspec.DecodeError as error:
        raise SnapshotRefusedError(f"snapshot {path.name}: wanted a header of this version; got {error}") from error


def _bytes(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _digest(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=_DIGEST_BYTES).digest()
