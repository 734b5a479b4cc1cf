"""Visitors' records of the first release, turned into today's; `migration` has the rules."""

from typing import Final

import numpy as np

from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, check_record
from feature_store.touches import AMOUNT, ITEM, KIND, TIME_MS, TOUCH_COLUMNS, stored_batch
from feature_store.visitor_kernel import apply
from feature_store.visitor_layout import FLAGS_AT, OVERFLOWED, RECORD_BYTES_MAX, SHOWN_KIND

FIRST_VISITOR: Final = 1
_EVENT = np.dtype([("time_low", "<u4"), ("time_high", "<u2"), ("kind", "u1"), ("quantity", "u1"), ("item", "<u4")])
_RUN = np.dtype([("before_ms", "<u4"), ("items", "u1")])
_FIRST_OVERFLOWED = 0x80


def upgraded_visitor(record: bytes) -> bytes:
    """The visitor's record in today's layout, at the same position of the same log.

    Raises:
        RecordFormatError: it is of no layout that was ever a visitor's.
    """
    check_record(record, layout=FIRST_VISITOR)
    touches = _touches_of(record)
    batch = stored_batch([None], touches, 0)
    out, ends = batch.output(RECORD_BYTES_MAX)
    # They stand in the ring's order already, so equal hashes keep it.
    item_hash = np.zeros(int(touches[:, ITEM].max(initial=0)) + 1, np.uint32)
    apply(batch.stored, batch.offsets, batch.touches, batch.starts, item_hash, batch.log_id, out, ends)
    if record[FLAGS_AT] & _FIRST_OVERFLOWED:
        out[FLAGS_AT] |= OVERFLOWED
    return record[:GUARD_BYTES] + out[GUARD_BYTES : int(ends[0])].tobytes()


def _touches_of(record: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The events and impressions of a record of layout 1, oldest first."""
    count, shown_count = record[FLAGS_AT] & ~_FIRST_OVERFLOWED, record[FLAGS_AT + 1]
    events = np.frombuffer(record, _EVENT, count, HEADER_BYTES)
    touches = np.zeros((count + shown_count, TOUCH_COLUMNS), np.int64)
    of_ring = touches[:count]
    of_ring[:, TIME_MS] = events["time_low"].astype(np.int64) | (events["time_high"].astype(np.int64) << 32)
    of_ring[:, KIND], of_ring[:, AMOUNT], of_ring[:, ITEM] = events["kind"], events["quantity"], events["item"]
    if shown_count:
        at = HEADER_BYTES + 12 * count
        newest_ms = int.from_bytes(record[at : at + 6], "little")
        runs = np.frombuffer(record, _RUN, record[at + 6], at + 7)
        of_shown = touches[count:]
        of_shown[:, TIME_MS] = np.repeat(newest_ms - runs["before_ms"].astype(np.int64), runs["items"])
        of_shown[:, KIND], of_shown[:, AMOUNT] = SHOWN_KIND, 1
        of_shown[:, ITEM] = np.frombuffer(record, "<u4", shown_count, at + 7 + runs.nbytes)
    return touches
