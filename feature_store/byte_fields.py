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


@_fast
def varint_bytes(value: int) -> int:
    """How many bytes `write_varint` takes for `value` >= 0."""
    size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


@_fast
def write_varint(buffer: Any, at: int, value: int) -> int:
    """LEB128 of `value` >= 0; returns where it ends."""
    while value >= 0x80:
        buffer[at] = (value & 0x7F) | 0x80
        value >>= 7
        at += 1
    buffer[at] = value
    return at + 1


@_fast
def read_varint(buffer: Any, at: int) -> tuple[int, int]:
    """The inverse of `write_varint`: the value and where it ends."""
    value, shift = 0, 0
    while buffer[at] & 0x80:
        value |= (int(buffer[at]) & 0x7F) << shift
        shift += 7
        at += 1
    return value | int(buffer[at]) << shift, at + 1
