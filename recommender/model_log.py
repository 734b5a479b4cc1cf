"""What lies on the topic `model`: deltas of a model's blocks, and the announcement of a new snapshot."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.errors import DeltaRefusedError

SNAPSHOT_BLOCK = "snapshot"
"""The block of an announcement; every other block is a delta."""

# Decoding 32 kB of base64 JSON and writing it into arrays stays under the 0.2 ms a serving process may spend on one.
DELTA_BYTES_MAX = 32_768

_DTYPES = frozenset({"|u1", "<u4", "<i4", "<i8", "<f4", "<f8"})


class Delta(msgspec.Struct, frozen=True):
    """What one block of the model now holds for some rows: absolute values, so that applying twice is applying once.

    Attributes:
        version: the `model_version` it changes; ignored under any other.
        block: which part of the model.
        made_at_ms: when the learner made it, Unix milliseconds.
        arrays: by name; all of one delta have the same first dimension.
        item_ids: the ids of rows that begin to exist with this delta.
        newest_event_ms: when the bus accepted the newest event in it; 0 when that is not known.
    """

    version: str
    block: str
    made_at_ms: int
    arrays: Mapping[str, NDArray[Any]]
    item_ids: tuple[str, ...] = ()
    newest_event_ms: int = 0


class Announcement(msgspec.Struct, frozen=True):
    """A new snapshot stands: replicas load `file` and go on under `version`."""

    version: str
    file: str
    made_at_ms: int


class _WireArray(msgspec.Struct, frozen=True, gc=False):
    dtype: str
    shape: tuple[int, ...]
    base64: bytes


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True):
    version: str
    block: str
    made_at_ms: int
    arrays: dict[str, _WireArray] = {}
    item_ids: tuple[str, ...] = ()
    newest_event_ms: int = 0
    file: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Wire)


def encode_delta(delta: Delta) -> bytes:
    """One JSON object; arrays are little-endian base64 with dtype and shape beside them."""
    arrays = {name: _wire_array(array) for name, array in delta.arrays.items()}
    return _encoder.encode(
        _Wire(delta.version, delta.block, delta.made_at_ms, arrays, delta.item_ids, delta.newest_event_ms)
    )


def encode_announcement(announcement: Announcement) -> bytes:
    """One JSON object of the block `snapshot`."""
    return _encoder.encode(_Wire(announcement.version, SNAPSHOT_BLOCK, announcement.made_at_ms, file=announcement.file))


def decode_message(payload: bytes) -> Delta | Announcement:
    """The inverse of `encode_delta` and `encode_announcement`; the arrays are read-only.

    Raises:
        DeltaRefusedError: it is neither, or an array does not fill its shape.
    """
    try:
        wire = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise DeltaRefusedError(f"entry of topic `model`: wanted a delta or an announcement; got {error}") from error
    if wire.block == SNAPSHOT_BLOCK:
        if wire.file is None:
            raise DeltaRefusedError("entry of topic `model`: wanted a snapshot's file name; got none")
        return Announcement(wire.version, wire.file, wire.made_at_ms)
    arrays = {name: _array(name, array) for name, array in wire.arrays.items()}
    return Delta(wire.version, wire.block, wire.made_at_ms, arrays, wire.item_ids, wire.newest_event_ms)


def split_delta(delta: Delta, *, bytes_max: int = DELTA_BYTES_MAX) -> Iterator[Delta]:
    """`delta` in pieces of at most `bytes_max` array bytes (at least one row each), in order.

    `item_ids`, when there are any, are cut along the rows.
    """
    rows = len(next(iter(delta.arrays.values()))) if delta.arrays else len(delta.item_ids)
    row_bytes = sum(array.nbytes for array in delta.arrays.values()) / rows if rows else 0
    id_bytes = sum(map(len, delta.item_ids)) / rows if rows else 0
    step = max(1, int(bytes_max / max(1.0, row_bytes + id_bytes)))
    if rows <= step:
        yield delta
        return
    for begin in range(0, rows, step):
        arrays = {name: array[begin : begin + step] for name, array in delta.arrays.items()}
        ids = delta.item_ids[begin : begin + step]
        yield Delta(delta.version, delta.block, delta.made_at_ms, arrays, ids, delta.newest_event_ms)


def _wire_array(array: NDArray[Any]) -> _WireArray:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if little.dtype.str not in _DTYPES:
        raise DeltaRefusedError(f"array of {little.dtype.str}: wanted one of {', '.join(sorted(_DTYPES))}")
    return _WireArray(little.dtype.str, array.shape, little.tobytes())


def _array(name: str, wire: _WireArray) -> NDArray[Any]:
    if wire.dtype not in _DTYPES:
        raise DeltaRefusedError(f"array `{name}`: wanted one of {', '.join(sorted(_DTYPES))}; got {wire.dtype}")
    flat = np.frombuffer(wire.base64, dtype=wire.dtype) if wire.base64 else np.empty(0, wire.dtype)
    try:
        return flat.reshape(wire.shape)
    except ValueError as error:
        raise DeltaRefusedError(
            f"array `{name}`: wanted {wire.shape} of {wire.dtype}; got {len(wire.base64)} bytes"
        ) from error
