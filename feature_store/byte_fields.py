"""Little-endian and big-endian integers in byte arrays, for the record kernels."""

from typing import Any

import numba

_fast: Any = numba.njit(cache=True, inline="always")


@_fast
def read_u64_be(buffer: Any, at: int) -> int:
    """8 bytes, most significant first, as an unsigned 63-bit number (broker positions stay below 2**63)."""
    value = 0
    for i in range(8):
        value = (value << 8) | int(buffer[at + i])
    return value


@_fast
def write_u64_be(buffer: Any, at: int, value: int) -> None:
    """The inverse of `read_u64_be`."""
    for i in range(8):
        buffer[at + 7 - i] = value & 0xFF
        value >>= 8


@_fast
def read_le(buffer: Any, at: int, size: int) -> int:
    """`size` bytes, least significant first."""
    value = 0
    for i in range(size):
        value |= int(buffer[at + i]) << (8 * i)
    return value


@_fast
def write_le(buffer: Any, at: int, size: int, value: int) -> None:
    """The inverse of `read_le`."""
    for i in range(size):
        buffer[at + i] = value & 0xFF
        value >>= 8
