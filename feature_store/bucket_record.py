"""Counts of an entity in rings of small buckets, addressed by absolute bucket number, stored sparsely.

A record holds, for each of its metrics, one ring per resolution. A bucket is `event time // bucket_ms`, whichever
came first; what is older than a ring reaches back from the newest event time of the record is not counted. A
*weighted* resolution counts an event as 1,024 · 2^(its place in the bucket, 0 to 1): its buckets are the half-lives of
a forward decay (Cormode et al. 2009), kept as whole numbers so that the sum does not depend on the order of adding.

Bytes after the 28 of the header: newest event time (6), one bit for each byte of the bitmap that is not 0, those bytes
of the bitmap (one bit for each bucket that is not 0), then those buckets as LEB128; then, where the layout counts
different visitors, what `unique_visitors` writes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from feature_store.byte_fields import read_le, read_u64_be, write_le, write_u64_be
from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, VERSION, check_record, layout_of
from feature_store.touches import Touches, is_applied, stored_batch, written_records
from feature_store.unique_visitors import (
    CELLS,
    STEP_MS,
    UNIQUES_BYTES_MAX,
    estimated_visitors,
    read_uniques,
    see,
    write_uniques,
)

WEIGHT_SCALE = 1024
"""What an event at the very start of a weighted bucket counts; rounding costs at most 1/2048 of its weight."""
_MASK_AT = HEADER_BYTES + 6
_VARINT_BYTES_MAX = 9


class Resolution(NamedTuple):
    """One ring: `buckets` of `bucket_ms` each; weighted: `bucket_ms` is the half-life."""

    bucket_ms: int
    buckets: int
    weighted: bool = False


class BucketLayout(NamedTuple):
    """What a kind of record counts, and how finely. Stored records depend on it: a change is a new layout number.

    `uniques`: different visitors too; touches then have 32 bits of the visitor's key in `ITEM`.
    `predecessor`: what an earlier release stored in its place; see `upgraded_buckets`.
    """

    number: int
    metrics: tuple[str, ...]
    resolutions: tuple[Resolution, ...]
    uniques: bool = False
    predecessor: "BucketLayout | None" = None
    shape: int = 0
    """Of a layout whose number several share: told by what it counts, 16 bits of the header."""

    @property
    def cells_per_metric(self) -> int:
        """Buckets of one metric over all resolutions."""
        return sum(resolution.buckets for resolution in self.resolutions)

    @property
    def bytes_max(self) -> int:
        """A record never gets larger than this."""
        cells = self.cells_per_metric * len(self.metrics)
        bitmap_bytes = -(-cells // 8)
        counts_bytes = -(-bitmap_bytes // 8) + bitmap_bytes + cells * _VARINT_BYTES_MAX
        return _MASK_AT + counts_bytes + (UNIQUES_BYTES_MAX if self.uniques else 0)

    @property
    def code(self) -> int:
        """Number and shape as the kernel takes them."""
        return self.number | self.shape << 8

    def empty(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A record's cells, shape (metrics * cells_per_metric,), and its visitors' steps, all 0."""
        cells = np.zeros(self.cells_per_metric * len(self.metrics), dtype=np.int64)
        return cells, np.zeros(CELLS if self.uniques else 0, dtype=np.int64)

    def shape_arrays(self) -> NDArray[np.int64]:
        """Shape (resolutions, 3): bucket_ms, buckets, weighted; as the kernel takes it."""
        return np.array(self.resolutions, dtype=np.int64)


class BucketRecord(NamedTuple):
    """One record decoded: `newest_ms`, and `cells` of shape (metrics, cells_per_metric), rings side by side.

    `visitor_steps`: shape (256,), see `unique_visitors`; of shape (0,) where the layout counts no visitors.
    """

    newest_ms: int
    cells: NDArray[np.int64]
    visitor_steps: NDArray[np.int64]


def read_buckets(record: bytes | None, layout: BucketLayout) -> BucketRecord:
    """Decode one record; nothing stored counts nothing.

    Raises:
        RecordFormatError: another version or layout.
    """
    cells, steps = layout.empty()
    newest_ms = 0
    if record is not None:
        record = upgraded_buckets(record, layout)
        check_record(record, layout=layout.number, shape=layout.shape)
        newest_ms = _decode(np.frombuffer(record, np.uint8), 0, cells, steps)
    return BucketRecord(newest_ms, cells.reshape(len(layout.metrics), -1), steps)


def apply_to_buckets(
    records: Sequence[bytes | None], touches: Touches, *, layout: BucketLayout, log_id: int
) -> list[bytes | None]:
    """The records after `touches`, None for those that already had them all.

    Args:
        records: as stored, or None; not modified.
        touches: rows in log order; `KIND` is the metric's place in the layout.
        layout: what the records hold.
        log_id: of the log that the touches come from.
    """
    batch = stored_batch(records, touches, log_id)
    out, ends = batch.output(layout.bytes_max)
    _apply(*batch, layout.code, layout.shape_arrays(), *layout.empty(), out, ends)
    return written_records(out, ends)


def upgraded_buckets(record: bytes, layout: BucketLayout) -> bytes:
    """A record of the layout's predecessor in today's, at the same position of the same log; any other as it is.

    Rings of the same resolution of metrics of the same name are taken over; all else is 0.
    """
    old = layout.predecessor
    if old is None or layout_of(record) != old.number:
        return record
    was = read_buckets(record, old)
    cells, steps = layout.empty()
    now = BucketRecord(was.newest_ms, cells.reshape(len(layout.metrics), -1), steps)
    for resolution, ring in enumerate(layout.resolutions):
        if ring in old.resolutions:
            from_ring = _ring(was, old, old.resolutions.index(ring))
            to_ring = _ring(now, layout, resolution)
            for metric, name in enumerate(layout.metrics):
                if name in old.metrics:
                    to_ring[metric] = from_ring[old.metrics.index(name)]
    out = np.zeros(layout.bytes_max, np.uint8)
    size = _encode_jit(out, cells, steps, was.newest_ms, layout.code)
    return record[:GUARD_BYTES] + out[GUARD_BYTES:size].tobytes()


def count_since(
    record: BucketRecord, layout: BucketLayout, resolution: int, *, start_ms: int, end_ms: int
) -> NDArray[np.int64]:
    """Shape (metrics,): what lies in the whole buckets that touch (start_ms, end_ms].

    Never less than the exact count, and more by at most what lies in the one bucket that `start_ms` cuts. A ring that
    reaches back less far than `start_ms` counts what it has.
    """
    bucket_ms, buckets, _ = layout.resolutions[resolution]
    newest = record.newest_ms // bucket_ms
    first = max(start_ms // bucket_ms, newest - buckets + 1, 0)
    last = min(end_ms // bucket_ms, newest)
    if last < first:
        return np.zeros(len(layout.metrics), dtype=np.int64)
    return np.asarray(_ring(record, layout, resolution)[:, np.arange(first, last + 1) % buckets].sum(axis=1))


def decayed_count(record: BucketRecord, layout: BucketLayout, resolution: int, *, now_ms: int) -> NDArray[np.float64]:
    """Shape (metrics,): the sum of 2^(-age / half-life); events older than the ring are left out.

    With 8 half-lives in the ring each of those would have weighed less than 1/128.
    """
    half_life_ms, buckets, _ = layout.resolutions[resolution]
    newest = record.newest_ms // half_life_ms
    numbers = np.arange(max(newest - buckets + 1, 0), newest + 1)
    weights = np.exp2(numbers - now_ms / half_life_ms) / WEIGHT_SCALE
    return np.asarray(_ring(record, layout, resolution)[:, numbers % buckets] @ weights, dtype=np.float64)


def visitors_since(record: BucketRecord, *, start_ms: int, end_ms: int) -> float:
    """Different visitors in the steps of six minutes that touch (start_ms, end_ms], up to 24 hours; an estimate.

    A visitor who came again after `end_ms` is not counted: to read a window of the past, take a record of that time.
    """
    return float(estimated_visitors(record.visitor_steps, start_ms // STEP_MS, end_ms // STEP_MS))


def _ring(record: BucketRecord, layout: BucketLayout, resolution: int) -> NDArray[np.int64]:
    first = sum(other.buckets for other in layout.resolutions[:resolution])
    return record.cells[:, first : first + layout.resolutions[resolution].buckets]


_jit: Any = numba.njit(cache=True)
_fast: Any = numba.njit(cache=True, inline="always")


@_jit
def _decode(buffer: Any, at: int, cells: Any, steps: Any) -> int:
    """Fill `cells` and `steps` from the record at `at`; returns its newest event time."""
    cells[:] = 0
    bitmap_bytes = (len(cells) + 7) // 8
    bitmap_at = at + _MASK_AT + (bitmap_bytes + 7) // 8
    value_at = bitmap_at
    for i in range(bitmap_bytes):
        value_at += (buffer[at + _MASK_AT + i // 8] >> (i % 8)) & 1
    for i in range(bitmap_bytes):
        if not (buffer[at + _MASK_AT + i // 8] >> (i % 8)) & 1:
            continue
        bits = buffer[bitmap_at]
        bitmap_at += 1
        for bit in range(8):
            if not (bits >> bit) & 1:
                continue
            value, shift = 0, 0
            while buffer[value_at] & 0x80:
                value |= (int(buffer[value_at]) & 0x7F) << shift
                shift += 7
                value_at += 1
            cells[8 * i + bit] = value | int(buffer[value_at]) << shift
            value_at += 1
    newest_ms = int(read_le(buffer, at + HEADER_BYTES, 6))
    if len(steps):
        read_uniques(buffer, value_at, steps, newest_ms // STEP_MS)
    return newest_ms


@_fast
def _encode(out: Any, cells: Any, steps: Any, newest_ms: int, layout_code: int) -> int:
    """Write all but position and log id; returns the record's size."""
    bitmap_bytes = (len(cells) + 7) // 8
    bitmap_at = _MASK_AT + (bitmap_bytes + 7) // 8
    out[GUARD_BYTES] = VERSION
    write_le(out, GUARD_BYTES + 1, 3, layout_code)
    write_le(out, HEADER_BYTES, 6, newest_ms)
    out[_MASK_AT:bitmap_at] = 0
    for i in range(bitmap_bytes):
        bits = 0
        for cell in range(8 * i, min(8 * i + 8, len(cells))):
            if cells[cell]:
                bits |= 1 << (cell % 8)
        if bits:
            out[_MASK_AT + i // 8] |= 1 << (i % 8)
            out[bitmap_at] = bits
            bitmap_at += 1
    at = bitmap_at
    for value in cells:
        while value >= 0x80:
            out[at] = (value & 0x7F) | 0x80
            value >>= 7
            at += 1
        if value:
            out[at] = value
            at += 1
    if len(steps):
        at = write_uniques(out, at, steps, newest_ms // STEP_MS)
    return at


@_jit
def _encode_jit(out: Any, cells: Any, steps: Any, newest_ms: int, layout_code: int) -> int:
    return int(_encode(out, cells, steps, newest_ms, layout_code))


@_fast
def _advance(cells: Any, resolutions: Any, metrics: int, from_ms: int, to_ms: int) -> None:
    """Empty the buckets that fall out of the rings when the newest event time goes on."""
    width = len(cells) // metrics
    first = 0
    for r in range(len(resolutions)):
        bucket_ms, buckets = resolutions[r, 0], resolutions[r, 1]
        newest = to_ms // bucket_ms
        for number in range(max(from_ms // bucket_ms, newest - buckets) + 1, newest + 1):
            for metric in range(metrics):
                cells[metric * width + first + number % buckets] = 0
        first += buckets


@_fast
def _add(cells: Any, resolutions: Any, at: int, newest_ms: int, time_ms: int, amount: int) -> None:
    """Count `amount` at `time_ms` in the rings of the metric whose cells begin at `at`."""
    for r in range(len(resolutions)):
        bucket_ms, buckets = resolutions[r, 0], resolutions[r, 1]
        number = time_ms // bucket_ms
        if number > newest_ms // bucket_ms - buckets:
            weight = 1
            if resolutions[r, 2]:
                weight = int(np.rint(2.0 ** ((time_ms - number * bucket_ms) / bucket_ms) * WEIGHT_SCALE))
            cells[at + number % buckets] += amount * weight
        at += buckets


@_jit
def _apply(
    stored: Any,
    offsets: Any,
    touches: Any,
    starts: Any,
    log_id: Any,
    layout_code: int,
    resolutions: Any,
    cells: Any,
    steps: Any,
    out: Any,
    ends: Any,
) -> None:
    width = resolutions[:, 1].sum()
    metrics = len(cells) // width
    end = 0
    for row in range(len(starts) - 1):
        major, minor_index, newest_ms = -1, -1, 0
        if offsets[row + 1] > offsets[row]:
            major, minor_index = read_u64_be(stored, offsets[row]), read_u64_be(stored, offsets[row] + 8)
            newest_ms = _decode(stored, offsets[row], cells, steps)
        else:
            cells[:], steps[:] = 0, 0
        applied = -1
        for i in range(starts[row], starts[row + 1]):
            touch = touches[i]
            if is_applied(touch[1], touch[2], major, minor_index):
                continue
            applied = i
            if touch[3] > newest_ms:
                _advance(cells, resolutions, metrics, newest_ms, touch[3])
                newest_ms = touch[3]
            _add(cells, resolutions, touch[4] * width, newest_ms, touch[3], touch[5])
            if len(steps):
                see(steps, touch[6], touch[3] // STEP_MS)
        if applied < 0:
            ends[row] = end
            continue
        record = out[end:]
        write_u64_be(record, 0, touches[applied, 1])
        write_u64_be(record, 8, touches[applied, 2])
        record[16:24] = log_id
        end += _encode(record, cells, steps, newest_ms, layout_code)
        ends[row] = end
