"""Kernels of a visitor's ring of events and of what was shown: keep the newest in an order that no arrival changes."""

from typing import Any

import numba
import numpy as np

from feature_store.byte_fields import read_le, read_varint, write_le, write_varint
from feature_store.visitor_layout import QUANTITY_MAX

_fast: Any = numba.njit(cache=True, inline="always")
_jit: Any = numba.njit(cache=True)

_KIND_MASK = 0x0F
_QUANTITY_SHIFT = 4
_QUANTITY_APART = 7
"""In three bits: the quantity follows in a byte of its own."""
_HAS_FACTS = 0x80


@_jit
def comes_before(event: Any, ring: Any, i: int, item_hash: Any) -> bool:
    """Does `event` come before row `i`: by time, kind, hash of the item, quantity, hash of the category, price?

    Hashes stand for the names, since their numbers depend on the order of arrival.
    """
    if event[0] != ring[i, 0]:
        return bool(event[0] < ring[i, 0])
    if event[1] != ring[i, 1]:
        return bool(event[1] < ring[i, 1])
    if item_hash[event[3]] != item_hash[ring[i, 3]]:
        return bool(item_hash[event[3]] < item_hash[ring[i, 3]])
    if event[2] != ring[i, 2]:
        return bool(event[2] < ring[i, 2])
    if item_hash[event[4]] != item_hash[ring[i, 4]]:
        return bool(item_hash[event[4]] < item_hash[ring[i, 4]])
    return bool(event[5] < ring[i, 5])


@_jit
def keep_newest(event: Any, ring: Any, count: int, count_max: int, item_hash: Any) -> int:
    """Put `event` at its place in `ring`; returns the new count.

    When the ring is full the first in order goes, maybe `event` itself: `event` then holds what was let go.
    """
    at = count
    while at > 0 and comes_before(event, ring, at - 1, item_hash):
        at -= 1
    if count < count_max:
        for i in range(count, at, -1):
            ring[i] = ring[i - 1]
        ring[at] = event
        return count + 1
    if at > 0:
        for column in range(len(event)):
            oldest = ring[0, column]
            for i in range(at - 1):
                ring[i, column] = ring[i + 1, column]
            ring[at - 1, column] = event[column]
            event[column] = oldest
    return count


@_jit
def write_events(out: Any, at: int, ring: Any, count: int, first_ms: int, categories: Any) -> int:
    """The body of the section of events; returns where it ends. `categories` is scratch room of shape (2, count).

    First and newest time (6 bytes each), count (1), the categories that occur; then, newest first, each event's
    distance in time from the one after it, kind with quantity, item and, where known, category and price.
    """
    newest_ms = ring[count - 1, 0]
    write_le(out, at, 6, first_ms)
    write_le(out, at + 6, 6, newest_ms)
    out[at + 12] = count
    category_count = 0
    for i in range(count - 1, -1, -1):
        category = ring[i, 4]
        place = 0
        while place < category_count and categories[0, place] != category:
            place += 1
        if category and place == category_count:
            categories[0, place] = category
            category_count += 1
        categories[1, i] = place + 1 if category else 0
    out[at + 13] = category_count
    at += 14
    for i in range(category_count):
        at = write_varint(out, at, categories[0, i])
    after_ms = newest_ms
    for i in range(count - 1, -1, -1):
        at = write_varint(out, at, after_ms - ring[i, 0])
        after_ms = ring[i, 0]
        quantity = ring[i, 2]
        facts = ring[i, 4] != 0 or ring[i, 5] != 0
        small = quantity if quantity < _QUANTITY_APART else _QUANTITY_APART
        out[at] = ring[i, 1] | small << _QUANTITY_SHIFT | (_HAS_FACTS if facts else 0)
        at += 1
        if small == _QUANTITY_APART:
            out[at] = quantity
            at += 1
        at = write_varint(out, at, ring[i, 3])
        if facts:
            out[at] = categories[1, i]
            out[at + 1] = ring[i, 5]
            at += 2
    return at


@_jit
def read_events(buffer: Any, at: int, ring: Any) -> tuple[int, int]:
    """Fill `ring`, oldest first, from the section's body at `at`; returns how many, and the first time ever."""
    first_ms = read_le(buffer, at, 6)
    time_ms = read_le(buffer, at + 6, 6)
    count = int(buffer[at + 12])
    categories = np.zeros(1 + int(buffer[at + 13]), np.int64)
    at += 14
    for i in range(1, len(categories)):
        categories[i], at = read_varint(buffer, at)
    for i in range(count - 1, -1, -1):
        before_ms, at = read_varint(buffer, at)
        time_ms -= before_ms
        head = int(buffer[at])
        at += 1
        quantity = (head >> _QUANTITY_SHIFT) & _QUANTITY_APART
        if quantity == _QUANTITY_APART:
            quantity = int(buffer[at])
            at += 1
        item, at = read_varint(buffer, at)
        ring[i, 0], ring[i, 1], ring[i, 2], ring[i, 3] = time_ms, head & _KIND_MASK, quantity, item
        ring[i, 4], ring[i, 5] = 0, 0
        if head & _HAS_FACTS:
            ring[i, 4] = categories[buffer[at]]
            ring[i, 5] = buffer[at + 1]
            at += 2
    return count, first_ms


@_jit
def write_shown(out: Any, at: int, shown: Any, count: int) -> int:
    """The body of the section of what was shown; returns where it ends.

    Count (1 byte) and newest time (6); then, newest first, runs of the same time: distance from the run after it, how
    many (1), and their items.
    """
    time_ms = shown[count - 1, 0]
    out[at] = count
    write_le(out, at + 1, 6, time_ms)
    at += 7
    end = count
    while end > 0:
        first = end - 1
        while first > 0 and shown[first - 1, 0] == shown[end - 1, 0]:
            first -= 1
        at = write_varint(out, at, time_ms - shown[end - 1, 0])
        time_ms = shown[end - 1, 0]
        out[at] = end - first
        at += 1
        for i in range(end - 1, first - 1, -1):
            at = write_varint(out, at, shown[i, 3])
        end = first
    return at


@_jit
def read_shown(buffer: Any, at: int, shown: Any) -> int:
    """Fill `shown`, oldest first, from the section's body at `at`; returns how many."""
    count = int(buffer[at])
    time_ms = read_le(buffer, at + 1, 6)
    at += 7
    left = count
    while left > 0:
        before_ms, at = read_varint(buffer, at)
        time_ms -= before_ms
        run = int(buffer[at])
        at += 1
        for _ in range(run):
            left -= 1
            item, at = read_varint(buffer, at)
            shown[left, 0], shown[left, 1], shown[left, 2], shown[left, 3] = time_ms, 0, 1, item
            shown[left, 4], shown[left, 5] = 0, 0
    return count


@_fast
def event_of_touch(event: Any, touch: Any) -> None:
    """Fill `event` (time, kind, quantity, item, category, price) from a row of touches."""
    event[0], event[1], event[2] = touch[3], touch[4], min(touch[5], QUANTITY_MAX)
    event[3], event[4], event[5] = touch[6], touch[7], touch[8]
