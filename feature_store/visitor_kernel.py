"""The kernel that brings visitors' records up to date, and the one that takes a record apart."""

from typing import Any

import numba
import numpy as np

from feature_store.byte_fields import read_le, read_u64_be, write_le, write_u64_be
from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, LAYOUT_VISITOR, VERSION
from feature_store.touches import is_applied
from feature_store.visitor_layout import (
    CART_COLUMNS,
    CART_LINES_MAX,
    EVENTS_MAX,
    FLAGS_AT,
    HOURS,
    KIND_SLOTS,
    OVERFLOWED,
    RING_COLUMNS,
    SECTION_CART,
    SECTION_EVENTS,
    SECTION_HEAD_BYTES,
    SECTION_LET_GO,
    SECTION_SHOWN,
    SHOWN_KIND,
    SHOWN_MAX,
    SIX_HOURS,
)
from feature_store.visitor_let_go import let_go, read_cart, read_let_go, write_cart, write_let_go
from feature_store.visitor_ring import (
    event_of_touch,
    keep_newest,
    read_events,
    read_shown,
    write_events,
    write_shown,
)

_jit: Any = numba.njit(cache=True)


@_jit
def read_record(
    buffer: Any, at: int, end: int, ring: Any, shown: Any, last_ms: Any, numbers: Any, counts: Any, cart: Any
) -> tuple[int, int, int, int, int]:
    """Take the record from `at` to `end` apart, section by section.

    Returns count of the ring, count of what was shown, first time ever, whether events were let go, lines of the cart.
    The arrays of what was let go are filled only when there is any.
    """
    overflowed = int(buffer[at + FLAGS_AT]) & OVERFLOWED
    at += HEADER_BYTES
    count, shown_count, first_ms, cart_count = 0, 0, 0, 0
    if overflowed:
        last_ms[:], numbers[:], counts[:] = 0, -1, 0
    while at < end:
        section, size = buffer[at], read_le(buffer, at + 1, 2)
        at += SECTION_HEAD_BYTES
        if section == SECTION_EVENTS:
            count, first_ms = read_events(buffer, at, ring)
        elif section == SECTION_SHOWN:
            shown_count = read_shown(buffer, at, shown)
        elif section == SECTION_LET_GO:
            read_let_go(buffer, at, last_ms, numbers, counts, ring[count - 1, 0])
        elif section == SECTION_CART:
            cart_count = read_cart(buffer, at, cart)
        at += size
    return count, shown_count, first_ms, overflowed, cart_count


@_jit
def _end_section(out: Any, head_at: int, section: int, end: int) -> int:
    """Write the head of a section whose body ends at `end`."""
    out[head_at] = section
    write_le(out, head_at + 1, 2, end - head_at - SECTION_HEAD_BYTES)
    return end


@_jit
def _write_record(
    out: Any,
    ring: Any,
    count: int,
    shown: Any,
    shown_count: int,
    first_ms: int,
    overflowed: int,
    last_ms: Any,
    numbers: Any,
    counts: Any,
    cart: Any,
    cart_count: int,
    categories: Any,
) -> int:
    """Write all but position and log id; returns the record's size."""
    out[GUARD_BYTES], out[GUARD_BYTES + 1], out[FLAGS_AT], out[FLAGS_AT + 1] = VERSION, LAYOUT_VISITOR, overflowed, 0
    at = HEADER_BYTES
    if count:
        end = write_events(out, at + SECTION_HEAD_BYTES, ring, count, first_ms, categories)
        at = _end_section(out, at, SECTION_EVENTS, end)
    if shown_count:
        end = write_shown(out, at + SECTION_HEAD_BYTES, shown, shown_count)
        at = _end_section(out, at, SECTION_SHOWN, end)
    if overflowed:
        end = write_let_go(out, at + SECTION_HEAD_BYTES, last_ms, numbers, counts, ring[count - 1, 0])
        at = _end_section(out, at, SECTION_LET_GO, end)
    if cart_count:
        end = write_cart(out, at + SECTION_HEAD_BYTES, cart, cart_count)
        at = _end_section(out, at, SECTION_CART, end)
    return at


@_jit
def apply(
    stored: Any, offsets: Any, touches: Any, starts: Any, item_hash: Any, log_id: Any, out: Any, ends: Any
) -> None:
    """Write each record with its touches into `out`, one after the other; see `visitor_record.apply_to_visitors`."""
    ring, shown = np.zeros((EVENTS_MAX, RING_COLUMNS), np.int64), np.zeros((SHOWN_MAX, RING_COLUMNS), np.int64)
    last_ms, cart = np.zeros(KIND_SLOTS, np.int64), np.zeros((CART_LINES_MAX, CART_COLUMNS), np.int64)
    numbers, counts = np.zeros(HOURS + SIX_HOURS, np.int64), np.zeros((HOURS + SIX_HOURS, KIND_SLOTS), np.int64)
    event, categories = np.zeros(RING_COLUMNS, np.int64), np.zeros((2, EVENTS_MAX), np.int64)
    end = 0
    for row in range(len(starts) - 1):
        at = offsets[row]
        major, minor_index = -1, -1
        count, shown_count, first_ms, overflowed, cart_count = 0, 0, 0, 0, 0
        if offsets[row + 1] > at:
            major, minor_index = read_u64_be(stored, at), read_u64_be(stored, at + 8)
            count, shown_count, first_ms, overflowed, cart_count = read_record(
                stored, at, offsets[row + 1], ring, shown, last_ms, numbers, counts, cart
            )
        applied = -1
        for i in range(starts[row], starts[row + 1]):
            touch = touches[i]
            if is_applied(touch[1], touch[2], major, minor_index):
                continue
            applied = i
            event_of_touch(event, touch)
            if event[1] == SHOWN_KIND:
                event[4], event[5] = 0, 0
                shown_count = keep_newest(event, shown, shown_count, SHOWN_MAX, item_hash)
                continue
            first_ms = min(first_ms, event[0]) if count else event[0]
            full = count == EVENTS_MAX
            count = keep_newest(event, ring, count, EVENTS_MAX, item_hash)
            if full:
                if not overflowed:
                    last_ms[:], numbers[:], counts[:] = 0, -1, 0
                    overflowed = OVERFLOWED
                cart_count = let_go(event, last_ms, numbers, counts, cart, cart_count)
        if applied < 0:
            ends[row] = end
            continue
        record = out[end:]
        write_u64_be(record, 0, touches[applied, 1])
        write_u64_be(record, 8, touches[applied, 2])
        record[16:24] = log_id
        end += _write_record(
            record,
            ring,
            count,
            shown,
            shown_count,
            first_ms,
            overflowed,
            last_ms,
            numbers,
            counts,
            cart,
            cart_count,
            categories,
        )
        ends[row] = end
