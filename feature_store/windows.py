"""Windows over a visitor's ring, counted when they are read: exact at every millisecond, without a timer."""

from typing import Final, NamedTuple

import numpy as np

from feature_store.kinds import Kind
from feature_store.visitor_record import VisitorRecord

VISITOR_WINDOWS_MS: Final = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}


class KindCounts(NamedTuple):
    """Events by kind, in the order of `Kind`; `at_least`: the ring let events of this window go."""

    counts: tuple[int, ...]
    at_least: bool


def count_by_kind(record: VisitorRecord, *, window_ms: int, now_ms: int) -> KindCounts:
    """How many events of each kind lie in (now_ms - window_ms, now_ms]."""
    first = int(np.searchsorted(record.time_ms, now_ms - window_ms, side="right"))
    end = int(np.searchsorted(record.time_ms, now_ms, side="right"))
    counts = np.bincount(record.kind[first:end], minlength=max(Kind) + 1)
    # With the oldest event kept inside the window, what was let go may have been inside it too.
    at_least = record.overflowed and (first == 0)
    return KindCounts(tuple(int(counts[kind]) for kind in Kind), at_least)
