"""What happened in the last minute, over every server process: read from the metrics and differenced."""

import glob
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from prometheus_client import REGISTRY, multiprocess
from prometheus_client.metrics_core import Metric

from api.routes.recommendations import PATH

WINDOW_S = 60.0
SNAPSHOTS_MAX = 120
_TIMES = "afterclick_api_request_seconds"
_ANSWERS = "afterclick_api_recommendations"


class AnswerTimes(msgspec.Struct, frozen=True):
    """How long suggestions took, over the last `window_s` seconds; None while nobody asked."""

    window_s: float
    answers: int
    per_second: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class Recent(msgspec.Struct, frozen=True):
    """The last minute of suggestions. `served_by`: answers by the rung that made them, most first."""

    times: AnswerTimes
    served_by: dict[str, int]


class _Snapshot(msgspec.Struct, frozen=True):
    at_s: float
    buckets: dict[float, float]
    """Answers at or below each upper bound in seconds, since the start."""
    served_by: dict[str, float]


class RecentAnswers:
    """Takes a snapshot of the counters whenever it is asked, and compares it with one a minute old.

    Asked by one thread at a time. Until it has been asked for a minute it compares with its own beginning, however
    long ago that was; `window_s` of the answer tells.
    """

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._snapshots = deque([_snapshot(_collected(), at_s=time.monotonic())], maxlen=SNAPSHOTS_MAX)

    def read(self) -> Recent:
        """The difference between now and the oldest snapshot within the window."""
        now = _snapshot(_collected(), at_s=time.monotonic())
        while len(self._snapshots) > 1 and self._snapshots[1].at_s <= now.at_s - self._window_s:
            self._snapshots.popleft()
        # A process that died takes its counts with it when its files are swept: a fresh start, not a negative rate.
        if any(now.buckets.get(bound, 0.0) < count for bound, count in self._snapshots[0].buckets.items()):
            self._snapshots.clear()
        if not self._snapshots or now.at_s - self._snapshots[-1].at_s >= self._window_s / (SNAPSHOTS_MAX - 2):
            self._snapshots.append(now)
        return _difference(self._snapshots[0], now)


def quantile_ms(buckets: Mapping[float, float], quantile: float) -> float | None:
    """The quantile of a histogram, in milliseconds, linear within its bucket; None of nothing.

    Args:
        buckets: how many were at or below each upper bound in seconds, cumulative; the last bound may be infinite.
        quantile: 0 to 1.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = quantile * buckets[bounds[-1]]
    low_s, below = 0.0, 0.0
    for bound_s in bounds:
        if buckets[bound_s] >= wanted:
            if bound_s == float("inf"):
                return low_s * 1000
            inside = buckets[bound_s] - below
            share = (wanted - below) / inside if inside else 1.0
            return (low_s + (bound_s - low_s) * share) * 1000
        low_s, below = bound_s, buckets[bound_s]
    return low_s * 1000


def _difference(then: _Snapshot, now: _Snapshot) -> Recent:
    buckets = {bound: count - then.buckets.get(bound, 0.0) for bound, count in now.buckets.items()}
    answers = int(buckets[max(buckets)]) if buckets else 0
    seconds = max(now.at_s - then.at_s, 1.0)
    p50, p95, p99 = (quantile_ms(buckets, quantile) for quantile in (0.5, 0.95, 0.99))
    served_by = {rung: int(count - then.served_by.get(rung, 0.0)) for rung, count in now.served_by.items()}
    ordered = sorted(served_by.items(), key=lambda pair: -pair[1])
    times = AnswerTimes(round(seconds, 1), answers, round(answers / seconds, 1), p50, p95, p99)
    return Recent(times, {rung: count for rung, count in ordered if count > 0})


def _collected() -> Iterable[Metric]:
    """The two families that are needed; of every process when they share PROMETHEUS_MULTIPROC_DIR."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return REGISTRY.collect()
    files = glob.glob(os.path.join(folder, "histogram_*.db")) + glob.glob(os.path.join(folder, "counter_*.db"))
    merged: Iterable[Any] = multiprocess.MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
    return merged


def _snapshot(metrics: Iterable[Metric], *, at_s: float) -> _Snapshot:
    buckets: dict[float, float] = {}
    served_by: dict[str, float] = {}
    for metric in metrics:
        if metric.name == _TIMES:
            for sample in metric.samples:
                if sample.name.endswith("_bucket") and sample.labels["route"] == PATH:
                    bound_s = float(sample.labels["le"])
                    buckets[bound_s] = buckets.get(bound_s, 0.0) + sample.value
        elif metric.name in {_ANSWERS, _ANSWERS + "_total"}:
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    rung = sample.labels["served_by"]
                    served_by[rung] = served_by.get(rung, 0.0) + sample.value
    return _Snapshot(at_s, buckets, served_by)
