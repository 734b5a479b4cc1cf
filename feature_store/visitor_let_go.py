"""Kernels of what a visitor's full ring lets go: counted in buckets of hours, the newest of each kind, the cart so far.

All but the cart is a function of the set of events let go, and which these are does not depend on their arrival.
"""

from typing import Any

import numba

from feature_store.byte_fields import read_le, read_varint, write_le, write_varint
from feature_store.kinds import Kind
from feature_store.visitor_layout import CART_LINES_MAX, HOUR_MS, HOURS, KIND_SLOTS, SIX_HOURS, SIX_HOURS_MS

_jit: Any = numba.njit(cache=True)

_ADD, _REMOVE, _PURCHASE = int(Kind.ADD_TO_CART), int(Kind.REMOVE_FROM_CART), int(Kind.PURCHASE)


@_jit
def let_go(event: Any, last_ms: Any, numbers: Any, counts: Any, cart: Any, cart_count: int) -> int:
    """Count an event that left the ring; returns the new number of cart lines.

    Args:
        event: time, kind, quantity, item, ...
        last_ms: shape (8,), newest time let go of each kind; 0 for none.
        numbers, counts: shape (54,) and (54, 8): 25 buckets of an hour, then 29 of six; which bucket lies in each
            place, and its count by kind.
        cart: shape (32, 3): item, quantity (0: taken out), time.
        cart_count: lines of it in use.
    """
    kind = event[1]
    last_ms[kind] = max(last_ms[kind], event[0])
    _count(event[0] // HOUR_MS, kind, numbers, counts, 0, HOURS)
    _count(event[0] // SIX_HOURS_MS, kind, numbers, counts, HOURS, SIX_HOURS)
    if kind in (_ADD, _REMOVE, _PURCHASE):
        return int(_write_line(event, cart, cart_count))
    return cart_count


@_jit
def write_let_go(out: Any, at: int, last_ms: Any, numbers: Any, counts: Any, newest_ms: int) -> int:
    """The body of the section; returns where it ends.

    One bit for each kind that has a newest time (1 byte) and these times (6 each); then for each of the two sizes of
    bucket how many cells follow, and the cells, newest first: (buckets before the newest · 8 + kind) less the same of
    the cell before, and the count. `newest_ms` is the newest event's; older than the rings reach is left out.
    """
    kinds_at = at
    kinds = 0
    at += 1
    for kind in range(KIND_SLOTS):
        if last_ms[kind]:
            kinds |= 1 << kind
            write_le(out, at, 6, last_ms[kind])
            at += 6
    out[kinds_at] = kinds
    at = _write_buckets(out, at, newest_ms // HOUR_MS, numbers, counts, 0, HOURS)
    return int(_write_buckets(out, at, newest_ms // SIX_HOURS_MS, numbers, counts, HOURS, SIX_HOURS))


@_jit
def read_let_go(buffer: Any, at: int, last_ms: Any, numbers: Any, counts: Any, newest_ms: int) -> None:
    """Fill the three arrays from the section's body at `at`."""
    kinds = int(buffer[at])
    at += 1
    for kind in range(KIND_SLOTS):
        last_ms[kind] = 0
        if kinds >> kind & 1:
            last_ms[kind] = read_le(buffer, at, 6)
            at += 6
    counts[:] = 0
    at = _read_buckets(buffer, at, newest_ms // HOUR_MS, numbers, counts, 0, HOURS)
    _read_buckets(buffer, at, newest_ms // SIX_HOURS_MS, numbers, counts, HOURS, SIX_HOURS)


@_jit
def write_cart(out: Any, at: int, cart: Any, count: int) -> int:
    """The body of the section: how many lines (1 byte), each item and quantity, and the time (6 bytes)."""
    out[at] = count
    at += 1
    for i in range(count):
        at = write_varint(out, at, cart[i, 0])
        at = write_varint(out, at, cart[i, 1])
        write_le(out, at, 6, cart[i, 2])
        at += 6
    return at


@_jit
def read_cart(buffer: Any, at: int, cart: Any) -> int:
    """Fill `cart` from the section's body at `at`; returns how many lines."""
    count = int(buffer[at])
    at += 1
    for i in range(count):
        cart[i, 0], at = read_varint(buffer, at)
        cart[i, 1], at = read_varint(buffer, at)
        cart[i, 2] = read_le(buffer, at, 6)
        at += 6
    return count


@_jit
def _count(number: int, kind: int, numbers: Any, counts: Any, first: int, buckets: int) -> None:
    """One more in bucket `number`; the place of a bucket is shared by those `buckets` apart, and the newest has it."""
    place = first + number % buckets
    if number > numbers[place]:
        numbers[place] = number
        counts[place] = 0
    if number == numbers[place]:
        counts[place, kind] += 1


@_jit
def _write_buckets(out: Any, at: int, newest: int, numbers: Any, counts: Any, first: int, buckets: int) -> int:
    cells_at = at
    at += 1
    cells, code_before = 0, 0
    for age in range(buckets):
        place = first + (newest - age) % buckets
        if numbers[place] != newest - age:
            continue
        for kind in range(KIND_SLOTS):
            if counts[place, kind]:
                code = age * KIND_SLOTS + kind
                at = write_varint(out, at, code - code_before)
                at = write_varint(out, at, counts[place, kind])
                code_before = code
                cells += 1
    out[cells_at] = cells
    return at


@_jit
def _read_buckets(buffer: Any, at: int, newest: int, numbers: Any, counts: Any, first: int, buckets: int) -> int:
    for age in range(buckets):
        numbers[first + (newest - age) % buckets] = newest - age
    cells = int(buffer[at])
    at += 1
    code = 0
    for _ in range(cells):
        step, at = read_varint(buffer, at)
        count, at = read_varint(buffer, at)
        code += step
        counts[first + (newest - code // KIND_SLOTS) % buckets, code % KIND_SLOTS] = count
    return at


@_jit
def _write_line(event: Any, cart: Any, count: int) -> int:
    """Let the newest event of an item decide whether it is in the cart; what is added to what is there adds up."""
    time_ms, kind, quantity, item = event[0], event[1], event[2], event[3]
    adds = kind == _ADD
    for i in range(count):
        if cart[i, 0] != item:
            continue
        if adds and cart[i, 1]:
            cart[i, 1] += quantity
            cart[i, 2] = max(cart[i, 2], time_ms)
        elif time_ms >= cart[i, 2]:
            cart[i, 1] = quantity if adds else 0
            cart[i, 2] = time_ms
        return count
    at = count
    if count == CART_LINES_MAX:
        at = 0
        for i in range(1, count):
            if cart[i, 2] < cart[at, 2]:
                at = i
        if time_ms <= cart[at, 2]:
            return count
    cart[at, 0], cart[at, 1], cart[at, 2] = item, (quantity if adds else 0), time_ms
    return max(count, at + 1)
