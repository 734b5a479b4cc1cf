"""What lies on the topic `model`: deltas of a model's blocks, and the announcement of a new snapshot."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.errors import DeltaRefusedError

EVENTS_BLOCK = "events"
FACTORS_BLOCK = "factors"
INTERVALS_BLOCK = "intervals"
SNAPSHOT_BLOCK = "snapshot"

# A replica spends at most 0.2 ms at once on a delta; small ones also keep the decoding of one short.
EVENTS_MAX = 500
FACTOR_ROWS_MAX = 64

_DTYPES = frozenset({"|u1", "<i4", "<i8", "<f4", "<f8"})


class Delta(msgspec.Struct, frozen=True):
    """What the learner did next: events it learnt from, or item vectors it solved.

    Replicas learn the same events in the same order and so hold the same counts, transitions and sessions; 23 bytes an
    event, where the rows it changes in all models would be some kilobytes.

    Attributes:
        version: the `model_version` it continues; ignored under any other.
        sequence: 1, 2, 3 … within the version: a repeat is skipped, a gap sends the replica back to the snapshot.
        block: `events` (arrays `sessions`, `rows`, `kinds`, `times_ms`, `gains`, `firsts`), `factors` (`rows`,
            `vectors`) or `intervals` (`rows`, `intervals`), what is known of how soon items are bought again.
        made_at_ms: by the learner's clock, Unix milliseconds.
        newest_event_ms: when the bus accepted the newest event it knew of; 0 when it knew none.
        first_row, item_ids: items that begin to exist with this delta, in the rows from `first_row` on.
    """

    version: str
    sequence: int
    block: str
    made_at_ms: int
    arrays: Mapping[str, NDArray[Any]]
    newest_event_ms: int = 0
    first_row: int = 0
    item_ids: tuple[str, ...] = ()


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
    sequence: int = 0
    arrays: dict[str, _WireArray] = {}
    newest_event_ms: int = 0
    first_row: int = 0
    item_ids: tuple[str, ...] = ()
    file: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Wire)


def encode_delta(delta: Delta) -> bytes:
    """One JSON object; arrays are little-endian base64 with dtype and shape beside them."""
    return _encoder.encode(
        _Wire(
            version=delta.version,
            block=delta.block,
            made_at_ms=delta.made_at_ms,
            sequence=delta.sequence,
            arrays={name: _wire_array(array) for name, array in delta.arrays.items()},
            newest_event_ms=delta.newest_event_ms,
            first_row=delta.first_row,
            item_ids=delta.item_ids,
        )
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
    return Delta(
        version=wire.version,
        sequence=wire.sequence,
        block=wire.block,
        made_at_ms=wire.made_at_ms,
        arrays=arrays,
        newest_event_ms=wire.newest_event_ms,
        first_row=wire.first_row,
        item_ids=wire.item_ids,
    )


def _wire_array(array: NDArray[Any]) -> _WireArray:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if little.dtype.str not in _DTYPES:
        raise DeltaRefusedError(f"array of {little.dtype.str}: wanted one of {', '.join(sorted(_DTYPES))}")
    return _WireArray(little.dtype.str, array.shape, little.tobytes())


def _array(name: str, wire: _WireArray) -> NDArray[Any]:
    if wire.dtype not in _DTYPES:
        raise DeltaRefusedError(f"array `{name}`: wanted one of {', '.join(sorted(_DTYPES))}; got {wire.dtype}")
    try:
        flat = np.frombuffer(wire.base64, dtype=wire.dtype) if wire.base64 else np.empty(0, wire.dtype)
        return flat.reshape(wire.shape)
    except ValueError as error:
        raise DeltaRefusedError(
            f"array `{name}`: wanted {wire.shape} of {wire.dtype}; got {len(wire.base64)} bytes"
        ) from error
