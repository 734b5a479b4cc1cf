"""Candidates for the most viewed items of a partition: a bounded list that needs no scan of all items.

Space-Saving (Metwally et al. 2005) over views that fade with a half-life of 30 minutes: with m = 256 places, every item
that has more than 1/256 of the partition's faded views is in the list. The list is a function of the log's order; the
counts that are shown come from the items' own records.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from feature_store.byte_fields import read_le, read_u64_be, write_le, write_u64_be
from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, LAYOUT_TOP_ITEMS, VERSION, check_record
from feature_store.touches import Touches, is_applied, stored_batch, written_records

PLACES = 256
HALF_LIFE_MS = 1_800_000
_COUNT_BYTES = 2
_EPOCH_BYTES = 6
_ENTRIES_AT = HEADER_BYTES + _EPOCH_BYTES
_COUNT_AT = GUARD_BYTES + 2
_ENTRY_BYTES = 12
RECORD_BYTES_MAX = _ENTRIES_AT + PLACES * _ENTRY_BYTES
_ENTRY = np.dtype([("item", "<u4"), ("weight", "<f8")])


class TopItems(NamedTuple):
    """The candidates: `item_index` and `weight` (faded to the newest half-life's start), in no order."""

    item_index: NDArray[np.uint32]
    weight: NDArray[np.float64]
    epoch: int


def read_top_items(record: bytes | None) -> TopItems:
    """Decode one record; nothing stored has no candidates.

    Raises:
        RecordFormatError: another version or layout.
    """
    if record is None:
        return TopItems(np.empty(0, np.uint32), np.empty(0, np.float64), 0)
    check_record(record, layout=LAYOUT_TOP_ITEMS)
    count = int.from_bytes(record[_COUNT_AT:HEADER_BYTES], "little")
    entries = np.frombuffer(record, _ENTRY, count, _ENTRIES_AT)
    epoch = int.from_bytes(record[HEADER_BYTES:_ENTRIES_AT], "little")
    return TopItems(entries["item"].copy(), entries["weight"].copy(), epoch)


def apply_to_top_items(records: Sequence[bytes | None], touches: Touches, *, log_id: int) -> list[bytes | None]:
    """The records after `touches` (views, `ITEM` is the item viewed); None for those that already had them all."""
    batch = stored_batch(records, touches, log_id)
    out, ends = batch.output(RECORD_BYTES_MAX)
    _apply(*batch, np.empty(PLACES, np.int64), np.empty(PLACES, np.float64), out, ends)
    return written_records(out, ends)


_jit: Any = numba.njit(cache=True)
_fast: Any = numba.njit(cache=True, inline="always")


@_fast
def _decode(buffer: Any, at: int, items: Any, bits: Any) -> tuple[int, int]:
    """Fill `items` and the weights' `bits`; returns count and epoch."""
    count = read_le(buffer, at + _COUNT_AT, _COUNT_BYTES)
    for i in range(count):
        entry_at = at + _ENTRIES_AT + i * _ENTRY_BYTES
        items[i] = read_le(buffer, entry_at, 4)
        bits[i] = read_le(buffer, entry_at + 4, 8)
    return count, read_le(buffer, at + HEADER_BYTES, _EPOCH_BYTES)


@_fast
def _add(items: Any, weights: Any, count: int, item: int, weight: float) -> int:
    """Count one view; a newcomer to a full list takes the lightest place and its weight. Returns the new count."""
    lightest = 0
    for i in range(count):
        if items[i] == item:
            weights[i] += weight
            return count
        if weights[i] < weights[lightest]:
            lightest = i
    if count < PLACES:
        items[count], weights[count] = item, weight
        return count + 1
    items[lightest] = item
    weights[lightest] += weight
    return count


@_fast
def _encode(out: Any, items: Any, bits: Any, count: int, epoch: int) -> int:
    """Write all but position and log id; returns the record's size."""
    out[GUARD_BYTES], out[GUARD_BYTES + 1] = VERSION, LAYOUT_TOP_ITEMS
    write_le(out, _COUNT_AT, _COUNT_BYTES, count)
    write_le(out, HEADER_BYTES, _EPOCH_BYTES, epoch)
    for i in range(count):
        entry_at = _ENTRIES_AT + i * _ENTRY_BYTES
        write_le(out, entry_at, 4, items[i])
        write_le(out, entry_at + 4, 8, bits[i])
    return _ENTRIES_AT + count * _ENTRY_BYTES


@_jit
def _apply(
    stored: Any,
    offsets: Any,
    touches: Any,
    starts: Any,
    log_id: Any,
    items: Any,
    weights: Any,
    out: Any,
    ends: Any,
) -> None:
    bits = weights.view(np.int64)
    end = 0
    for row in range(len(starts) - 1):
        major, minor_index, count, epoch = -1, -1, 0, 0
        if offsets[row + 1] > offsets[row]:
            major, minor_index = read_u64_be(stored, offsets[row]), read_u64_be(stored, offsets[row] + 8)
            count, epoch = _decode(stored, offsets[row], items, bits)
        applied = -1
        for i in range(starts[row], starts[row + 1]):
            touch = touches[i]
            if is_applied(touch[1], touch[2], major, minor_index):
                continue
            applied = i
            if touch[3] // HALF_LIFE_MS > epoch:
                weights[:count] *= 0.5 ** (touch[3] // HALF_LIFE_MS - epoch)
                epoch = touch[3] // HALF_LIFE_MS
            count = _add(items, weights, count, touch[6], 2.0 ** (touch[3] / HALF_LIFE_MS - epoch))
        if applied < 0:
            ends[row] = end
            continue
        record = out[end:]
        write_u64_be(record, 0, touches[applied, 1])
        write_u64_be(record, 8, touches[applied, 2])
        record[16:24] = log_id
        end += _encode(record, items, bits, count, epoch)
        ends[row] = end
