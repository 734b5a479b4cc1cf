"""What one event changes, as rows of numbers: the common input of every record's kernel."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

TOUCH_COLUMNS = 9
ROW, MAJOR, MINOR_INDEX, TIME_MS, KIND, AMOUNT, ITEM, CATEGORY, PRICE = range(TOUCH_COLUMNS)
"""Columns of a touch: which record of the batch; the event's position as two numbers; its corrected time; what it
counts as (a visitor's `Kind` or a record's metric); how much; the item's number, its category's, and its price's code.
Records that hold no items but count visitors have 32 bits of the visitor's key in `ITEM`."""

TIME_MS_END = 1 << 47
"""Event times are stored in 6 bytes."""


Touches = NDArray[np.int64]
"""Shape (touches, 9)."""


class StoredBatch(NamedTuple):
    """The records of a batch as they were read, one after the other.

    Attributes:
        stored: shape (bytes,), all records joined.
        offsets: shape (records + 1,), where each begins; an empty one is not in the store yet.
        touches: shape (touches, 9), sorted by record and in it by position.
        starts: shape (records + 1,), where each record's touches begin.
        log_id: shape (8,), big-endian.
    """

    stored: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    touches: Touches
    starts: NDArray[np.int64]
    log_id: NDArray[np.uint8]

    @property
    def records(self) -> int:
        """How many records it has."""
        return len(self.starts) - 1

    def output(self, record_bytes_max: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Room for the records, and for where each ends; pages that are not written cost nothing."""
        return np.empty(self.records * record_bytes_max, np.uint8), np.zeros(self.records, np.int64)


def stored_batch(records: Sequence[bytes | None], touches: Touches, log_id: int) -> StoredBatch:
    """Lay out `records` and their touches (rows in log order) for the kernels."""
    touches = touches[np.argsort(touches[:, ROW], kind="stable")]
    offsets = np.zeros(len(records) + 1, dtype=np.int64)
    np.cumsum([0 if record is None else len(record) for record in records], out=offsets[1:])
    return StoredBatch(
        stored=np.frombuffer(b"".join(record for record in records if record is not None), dtype=np.uint8),
        offsets=offsets,
        touches=touches,
        starts=np.searchsorted(touches[:, ROW], np.arange(len(records) + 1)).astype(np.int64),
        log_id=np.frombuffer(log_id.to_bytes(8, "big"), dtype=np.uint8),
    )


def written_records(out: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes | None]:
    """The records a kernel wrote one after the other, None where the record already had every touch."""
    bounds = [0, *ends.tolist()]
    raw = out[: bounds[-1]].tobytes()
    return [raw[start:end] if end > start else None for start, end in pairwise(bounds)]


_fast: Any = numba.njit(cache=True, inline="always")


@_fast
def is_applied(major: int, minor_index: int, stored_major: int, stored_minor_index: int) -> bool:
    """Is a position at or before the stored one?"""
    return major < stored_major or (major == stored_major and minor_index <= stored_minor_index)
