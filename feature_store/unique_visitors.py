"""How many different visitors in a sliding window: a multiresolution bitmap whose bits are times.

Every visitor falls by hash into one of 32 slots of one of 8 levels (level l takes a share of 3/4^(l+1)), and a slot
remembers when one of its visitors was last there, in steps of six minutes. The slots that were touched within a window
are the bitmap of that window (Estan, Varghese and Fisk 2006), for any window up to 25 hours; the estimate is the one of
greatest likelihood over all levels. Latest times do not depend on the order of arrival, and a visitor lives in one
partition, so that estimates add up over partitions.

Standard error: about 16 % in one partition, 16 % / sqrt(n) over n alike, near 0 for a handful of visitors.
"""

from typing import Any, Final

import numba
import numpy as np

from feature_store.byte_fields import read_le

SLOTS: Final = 32
LEVELS: Final = 8
CELLS: Final = SLOTS * LEVELS
STEP_MS: Final = 360_000
STEPS_MAX: Final = 250
"""Steps that are remembered: 25 hours. Below 256, since one byte of the step's number is stored."""
UNIQUES_BYTES_MAX: Final = 4 + CELLS // 8 + CELLS
_MASK_BYTES = CELLS // 8 // 8
_ROUNDS = 60

_jit: Any = numba.njit(cache=True)


@_jit
def cell_of(visitor: int) -> int:
    """The cell of a visitor, by 32 bits of their key."""
    # MurmurHash3's finalizer: the keys of tests and benchmarks are small numbers.
    mixed = visitor & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    mixed ^= mixed >> 16
    slot = mixed & (SLOTS - 1)
    mixed >>= 5
    level = 0
    while level < LEVELS - 1 and mixed & 3 == 0:
        mixed >>= 2
        level += 1
    return level * SLOTS + slot


@_jit
def write_uniques(out: Any, at: int, steps: Any, newest_step: int) -> int:
    """Which cells are set, sparsely, and the low byte of each one's step; returns where it ends.

    `steps`: shape (256,), 0 for a cell that is not set; those further back than `STEPS_MAX` are left out.
    """
    mask_at = at
    at += _MASK_BYTES
    out[mask_at:at] = 0
    for i in range(CELLS // 8):
        bits = 0
        for cell in range(8 * i, 8 * i + 8):
            if steps[cell] > newest_step - STEPS_MAX:
                bits |= 1 << (cell % 8)
        if bits:
            out[mask_at + i // 8] |= 1 << (i % 8)
            out[at] = bits
            at += 1
    for cell in range(CELLS):
        if steps[cell] > newest_step - STEPS_MAX:
            out[at] = steps[cell] & 0xFF
            at += 1
    return at


@_jit
def read_uniques(buffer: Any, at: int, steps: Any, newest_step: int) -> None:
    """The inverse of `write_uniques`."""
    steps[:] = 0
    mask = read_le(buffer, at, _MASK_BYTES)
    bitmap_at = at + _MASK_BYTES
    value_at = bitmap_at
    for i in range(CELLS // 8):
        value_at += (mask >> i) & 1
    for i in range(CELLS // 8):
        if not (mask >> i) & 1:
            continue
        bits = buffer[bitmap_at]
        bitmap_at += 1
        for bit in range(8):
            if (bits >> bit) & 1:
                steps[8 * i + bit] = newest_step - ((newest_step - int(buffer[value_at])) & 0xFF)
                value_at += 1


@_jit
def see(steps: Any, visitor: int, step: int) -> None:
    """Note a visitor at `step`, in whatever order."""
    cell = cell_of(visitor)
    steps[cell] = max(steps[cell], step)


@_jit
def estimated_visitors(steps: Any, first_step: int, last_step: int) -> float:
    """Different visitors last seen in [first_step, last_step]: the number that makes the set cells most likely."""
    set_cells = np.zeros(LEVELS, np.int64)
    for cell in range(CELLS):
        if first_step <= steps[cell] <= last_step:
            set_cells[cell // SLOTS] += 1
    if set_cells.sum() == 0:
        return 0.0
    low, high = 0.0, 4.0 ** (LEVELS + 2) * SLOTS
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        slope = 0.0
        share = 0.75
        for level in range(LEVELS):
            # The last level takes all that is left.
            rate = (share if level < LEVELS - 1 else share / 0.75) / SLOTS
            unset_share = np.exp(-middle * rate)
            if unset_share < 1.0:
                slope += set_cells[level] * rate * unset_share / (1.0 - unset_share)
            slope -= (SLOTS - set_cells[level]) * rate
            share /= 4
        if slope > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
