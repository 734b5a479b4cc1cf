"""Windows over a visitor's events, counted when they are read: exact at every millisecond, without a timer."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.kinds import Kind
from feature_store.visitor_layout import HOUR_MS, SIX_HOURS_MS
from feature_store.visitor_record import LetGo, VisitorRecord

VISITOR_WINDOWS_MS: Final = {
    "1m": 60_000,
    "5m": 300_000,
    "1h": HOUR_MS,
    "24h": 24 * HOUR_MS,
    "7d": 168 * HOUR_MS,
}
_BUCKETED_FROM_MS: Final = 24 * HOUR_MS
"""Windows from this length on add what the ring let go, from its buckets."""


class KindCounts(NamedTuple):
    """Events by kind, in the order of `Kind`; `at_least`: events of this window may be missing."""

    counts: tuple[int, ...]
    at_least: bool


def count_by_kind(record: VisitorRecord, *, window_ms: int, now_ms: int) -> KindCounts:
    """How many events of each kind lie in (now_ms - window_ms, now_ms].

    Exact while the ring has let nothing go that lies in the window. Else a window below 24 h says "at least", and one
    of 24 h or 7 d adds the buckets that touch it: never less than exact, and more by at most the events let go in the
    one bucket, of an hour or of six, that its start cuts.
    """
    start_ms = now_ms - window_ms
    first = int(np.searchsorted(record.time_ms, start_ms, side="right"))
    end = int(np.searchsorted(record.time_ms, now_ms, side="right"))
    counts = np.bincount(record.kind[first:end], minlength=max(Kind) + 1)
    at_least = False
    if record.let_go is not None and (first == 0 or window_ms >= _BUCKETED_FROM_MS):
        at_least = True
        if window_ms >= _BUCKETED_FROM_MS:
            cells, bucket_ms, reach_ms = _buckets(record.let_go, window_ms)
            within = (cells[:, 0] >= start_ms // bucket_ms) & (cells[:, 0] <= now_ms // bucket_ms)
            np.add.at(counts, cells[within, 1], cells[within, 2])
            at_least = start_ms // bucket_ms * bucket_ms < reach_ms
    return KindCounts(tuple(counts.tolist()[1 : max(Kind) + 1]), at_least)


def last_ms_by_kind(record: VisitorRecord, *, now_ms: int) -> dict[Kind, int]:
    """When the newest event of each kind came, none later than `now_ms`; kinds that never came are left out."""
    end = int(np.searchsorted(record.time_ms, now_ms, side="right"))
    last_ms: dict[Kind, int] = {}
    if record.let_go is not None:
        last_ms = {kind: int(record.let_go.last_ms[kind]) for kind in Kind if 0 < record.let_go.last_ms[kind] <= now_ms}
    # In order of time: of each kind the last one stays. A `Kind` is its number, and hashes as it does.
    newest = dict(zip(record.kind[:end].tolist(), record.time_ms[:end].tolist(), strict=True))
    last_ms.update({Kind(kind): time_ms for kind, time_ms in newest.items()})
    return last_ms


def _buckets(let_go: LetGo, window_ms: int) -> tuple[NDArray[np.int64], int, int]:
    """The cells that a window is counted from, the size of their buckets, and how far back they reach."""
    if window_ms <= VISITOR_WINDOWS_MS["24h"]:
        return let_go.hours, HOUR_MS, let_go.reach_ms[0]
    return let_go.six_hours, SIX_HOURS_MS, let_go.reach_ms[1]
