"""The first 28 bytes of every record: how far in which log it has come, its version and what it is."""

import struct

from feature_store.errors import RecordFormatError, StoreMismatchError
from ingest.bus.contract import Position

POSITION_BYTES = 16
LOG_ID_BYTES = 8
GUARD_BYTES = POSITION_BYTES + LOG_ID_BYTES
"""What the compare-and-set compares: position and log id."""
HEADER_BYTES = 28
VERSION = 1

# Numbers 1 to 3 were the visitors, items and placements of the first release; `migration` reads them.
LAYOUT_VISITOR = 7
LAYOUT_ITEM = 8
LAYOUT_PLACEMENT = 9
LAYOUT_CATEGORY = 10
LAYOUT_CUSTOM = 64
LAYOUT_EVENT_KINDS = 4
LAYOUT_TOP_ITEMS = 5
LAYOUT_FRESHNESS = 6
LAYOUT_IDENTITY = 32

_GUARD = struct.Struct(">QQQ")
REBUILD = "rebuild the online store with `afterclick rebuild`"


def guard_of(record: bytes | None) -> bytes:
    """Position and log id as the compare-and-set expects them; empty for a record that is not there."""
    return b"" if record is None else record[:GUARD_BYTES]


def position_of(record: bytes) -> Position:
    """Up to where the record has come in its partition."""
    return Position.from_bytes(record[:POSITION_BYTES])


def layout_of(record: bytes) -> int:
    """The layout's number; -1 for what is too short to be a record."""
    return record[GUARD_BYTES + 1] if len(record) >= HEADER_BYTES else -1


def check_record(record: bytes, *, layout: int, shape: int = 0, log_id: int | None = None) -> None:
    """Refuse by name what cannot be read.

    Args:
        record: as stored.
        layout: wanted.
        shape: of a counted view of the shop's own, told by what it counts; 0 of every other layout.
        log_id: wanted, if it matters.

    Raises:
        RecordFormatError: another version or layout than this code's, or another shape.
        StoreMismatchError: `log_id` is given and the record belongs to another log.
    """
    if len(record) < HEADER_BYTES or record[GUARD_BYTES] != VERSION or record[GUARD_BYTES + 1] != layout:
        got = record[GUARD_BYTES : GUARD_BYTES + 2].hex(" ") or "nothing"
        raise RecordFormatError(
            f"record: wanted version {VERSION} and layout {layout}; got bytes {got} ({len(record)} bytes); {REBUILD}"
        )
    if layout == LAYOUT_CUSTOM and int.from_bytes(record[GUARD_BYTES + 2 : HEADER_BYTES], "little") != shape:
        raise RecordFormatError(
            "record of a counted view: wanted one that counts what the view declares; got one that counts something "
            f"else; give the changed view another name, or {REBUILD}"
        )
    if log_id is not None and int.from_bytes(record[POSITION_BYTES:GUARD_BYTES], "big") != log_id:
        got_log = record[POSITION_BYTES:GUARD_BYTES].hex()
        raise StoreMismatchError(f"record: wanted one of log {log_id:016x}; got one of log {got_log}; {REBUILD}")
