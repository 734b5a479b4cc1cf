"""A visitor's latest 100 deliberate events and last 50 impressions, ordered by event time, in about 900 bytes.

Bytes after the 28 of the header (whose last two hold the counts): 12 an event, oldest first (time in
ms, 6; kind; quantity, at most 255; item index, 4), then, when anything was shown, the newest time shown (6), the number
of runs, 5 a run (ms before the newest, 4; items) and 4 an item shown.

Which events are kept does not depend on the order they arrive in: they are ordered by (time, kind, hash of the item's
id, quantity), and the least go first. The hash stands for the id, since item indexes are numbered by arrival.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from feature_store.byte_fields import read_le, read_u64_be, write_le, write_u64_be
from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, LAYOUT_VISITOR, VERSION, check_record
from feature_store.touches import Touches, is_applied, stored_batch, written_records

EVENTS_MAX = 100
SHOWN_MAX = 50
SHOWN_KIND = 0
"""The `kind` of a touch that is an impression."""
QUANTITY_MAX = 255
RECORD_BYTES_MAX = HEADER_BYTES + EVENTS_MAX * 12 + 7 + SHOWN_MAX * 9
_SHOWN_SPAN_MS = (1 << 32) - 1
_COUNT_AT = 26
_COUNT_MASK = 0x7F
_OVERFLOWED = 0x80
"""Of the byte at `_COUNT_AT`: older events were let go."""
_SHOWN_AT = 27

_EVENT = np.dtype([("time_low", "<u4"), ("time_high", "<u2"), ("kind", "u1"), ("quantity", "u1"), ("item", "<u4")])
_RUN = np.dtype([("before_ms", "<u4"), ("items", "u1")])


class VisitorRecord(NamedTuple):
    """One visitor as stored; arrays oldest first.

    Attributes:
        time_ms, kind, quantity, item_index: shape (n,), n <= 100; item index 0 for an event without item (a search).
        overflowed: older events were let go, so a window that reaches past the oldest holds "at least" what it counts.
        shown_time_ms, shown_item_index: shape (m,), m <= 50.
    """

    time_ms: NDArray[np.int64]
    kind: NDArray[np.uint8]
    quantity: NDArray[np.uint8]
    item_index: NDArray[np.uint32]
    overflowed: bool
    shown_time_ms: NDArray[np.int64]
    shown_item_index: NDArray[np.uint32]


EMPTY_VISITOR = VisitorRecord(
    np.empty(0, np.int64),
    np.empty(0, np.uint8),
    np.empty(0, np.uint8),
    np.empty(0, np.uint32),
    False,
    np.empty(0, np.int64),
    np.empty(0, np.uint32),
)


def read_visitor(record: bytes | None) -> VisitorRecord:
    """Decode one record; nothing stored is a visitor without events.

    Raises:
        RecordFormatError: another version or layout.
    """
    if record is None:
        return EMPTY_VISITOR
    check_record(record, layout=LAYOUT_VISITOR)
    count = record[_COUNT_AT] & _COUNT_MASK
    events = np.frombuffer(record, _EVENT, count, HEADER_BYTES)
    shown_time_ms, shown_item_index = _read_shown(record, HEADER_BYTES + 12 * count, record[_SHOWN_AT])
    return VisitorRecord(
        time_ms=events["time_low"].astype(np.int64) | (events["time_high"].astype(np.int64) << 32),
        kind=events["kind"].copy(),
        quantity=events["quantity"].copy(),
        item_index=events["item"].copy(),
        overflowed=bool(record[_COUNT_AT] & _OVERFLOWED),
        shown_time_ms=shown_time_ms,
        shown_item_index=shown_item_index,
    )


def apply_to_visitors(
    records: Sequence[bytes | None], touches: Touches, *, item_hash: NDArray[np.uint32], log_id: int
) -> list[bytes | None]:
    """The records after `touches`, None for those that already had them all.

    Args:
        records: as stored, or None; not modified.
        touches: rows in log order; `KIND` 0 is an impression.
        item_hash: hash of the item id by item index; covers every index in `records` and touches.
        log_id: of the log that the touches come from.
    """
    batch = stored_batch(records, touches, log_id)
    out, ends = batch.output(RECORD_BYTES_MAX)
    _apply(batch.stored, batch.offsets, batch.touches, batch.starts, item_hash, batch.log_id, out, ends)
    return written_records(out, ends)


def _read_shown(record: bytes, at: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    if count == 0:
        return EMPTY_VISITOR.shown_time_ms, EMPTY_VISITOR.shown_item_index
    newest_ms = int.from_bytes(record[at : at + 6], "little")
    runs = np.frombuffer(record, _RUN, record[at + 6], at + 7)
    items = np.frombuffer(record, "<u4", count, at + 7 + runs.nbytes)
    return np.repeat(newest_ms - runs["before_ms"].astype(np.int64), runs["items"]), items.copy()


_jit: Any = numba.njit(cache=True)
_fast: Any = numba.njit(cache=True, inline="always")


@_fast
def _comes_before(event: Any, others: Any, i: int, item_hash: Any) -> bool:
    """Does `event` (time, kind, quantity, item) come before row `i` of `others` in the order of the ring?"""
    if event[0] != others[i, 0]:
        return bool(event[0] < others[i, 0])
    if event[1] != others[i, 1]:
        return bool(event[1] < others[i, 1])
    hash_event, hash_other = item_hash[event[3]], item_hash[others[i, 3]]
    if hash_event != hash_other:
        return bool(hash_event < hash_other)
    return bool(event[2] < others[i, 2])


@_fast
def _keep_newest(event: Any, ring: Any, count: int, count_max: int, item_hash: Any) -> int:
    """Put `event` at its place in `ring`; returns the new count. When it is full the oldest goes, maybe `event`."""
    at = count
    while at > 0 and _comes_before(event, ring, at - 1, item_hash):
        at -= 1
    if count < count_max:
        for i in range(count, at, -1):
            ring[i] = ring[i - 1]
        ring[at] = event
        return count + 1
    if at > 0:
        for i in range(at - 1):
            ring[i] = ring[i + 1]
        ring[at - 1] = event
    return count


@_fast
def _decode(buffer: Any, at: int, ring: Any, shown: Any) -> tuple[int, int]:
    """Fill `ring` and `shown` from the record at `at`; returns both counts."""
    count = int(buffer[at + _COUNT_AT]) & _COUNT_MASK
    shown_count = int(buffer[at + _SHOWN_AT])
    at += HEADER_BYTES
    for i in range(count):
        ring[i, 0] = read_le(buffer, at, 6)
        ring[i, 1] = buffer[at + 6]
        ring[i, 2] = buffer[at + 7]
        ring[i, 3] = read_le(buffer, at + 8, 4)
        at += 12
    if shown_count > 0:
        newest_ms = read_le(buffer, at, 6)
        runs = int(buffer[at + 6])
        items_at = at + 7 + 5 * runs
        done = 0
        for run in range(runs):
            run_at = at + 7 + 5 * run
            for _ in range(buffer[run_at + 4]):
                shown[done, 0] = newest_ms - read_le(buffer, run_at, 4)
                shown[done, 1] = SHOWN_KIND
                shown[done, 2] = 1
                shown[done, 3] = read_le(buffer, items_at + 4 * done, 4)
                done += 1
    return count, shown_count


@_fast
def _encode_shown(out: Any, at: int, shown: Any, first: int, end: int) -> int:
    """Write impressions `first` to `end` behind the events; returns the record's size."""
    newest_ms = shown[end - 1, 0]
    write_le(out, at, 6, newest_ms)
    runs = 0
    run_at = at + 7
    i = first
    while i < end:
        j = i
        while j < end and shown[j, 0] == shown[i, 0]:
            j += 1
        write_le(out, run_at, 4, newest_ms - shown[i, 0])
        out[run_at + 4] = j - i
        run_at += 5
        runs += 1
        i = j
    out[at + 6] = runs
    for i in range(first, end):
        write_le(out, run_at, 4, shown[i, 3])
        run_at += 4
    return run_at


@_fast
def _encode(out: Any, ring: Any, count: int, shown: Any, shown_count: int, overflowed: int) -> int:
    """Write all but position and log id; returns the record's size."""
    first = 0
    while first < shown_count and shown[shown_count - 1, 0] - shown[first, 0] > _SHOWN_SPAN_MS:
        first += 1
    out[GUARD_BYTES] = VERSION
    out[GUARD_BYTES + 1] = LAYOUT_VISITOR
    out[_COUNT_AT] = count | overflowed
    out[_SHOWN_AT] = shown_count - first
    at = HEADER_BYTES
    for i in range(count):
        write_le(out, at, 6, ring[i, 0])
        out[at + 6] = ring[i, 1]
        out[at + 7] = ring[i, 2]
        write_le(out, at + 8, 4, ring[i, 3])
        at += 12
    if shown_count == first:
        return at
    return int(_encode_shown(out, at, shown, first, shown_count))


@_jit
def _apply(
    stored: Any, offsets: Any, touches: Any, starts: Any, item_hash: Any, log_id: Any, out: Any, ends: Any
) -> None:
    ring = np.zeros((EVENTS_MAX, 4), np.int64)
    shown = np.zeros((SHOWN_MAX, 4), np.int64)
    event = np.zeros(4, np.int64)
    end = 0
    for row in range(len(starts) - 1):
        at = offsets[row]
        major, minor_index, count, shown_count, overflowed = -1, -1, 0, 0, 0
        if offsets[row + 1] > at:
            major, minor_index = read_u64_be(stored, at), read_u64_be(stored, at + 8)
            count, shown_count = _decode(stored, at, ring, shown)
            overflowed = int(stored[at + _COUNT_AT]) & _OVERFLOWED
        applied = -1
        for i in range(starts[row], starts[row + 1]):
            touch = touches[i]
            if is_applied(touch[1], touch[2], major, minor_index):
                continue
            applied = i
            event[0], event[1], event[2], event[3] = touch[3], touch[4], min(touch[5], QUANTITY_MAX), touch[6]
            if touch[4] == SHOWN_KIND:
                shown_count = _keep_newest(event, shown, shown_count, SHOWN_MAX, item_hash)
            else:
                if count == EVENTS_MAX:
                    overflowed = _OVERFLOWED
                count = _keep_newest(event, ring, count, EVENTS_MAX, item_hash)
        if applied < 0:
            ends[row] = end
            continue
        record = out[end:]
        write_u64_be(record, 0, touches[applied, 1])
        write_u64_be(record, 8, touches[applied, 2])
        record[16:24] = log_id
        end += _encode(record, ring, count, shown, shown_count, overflowed)
        ends[row] = end
