"""How old an event is when its records are written: a histogram for the dashboard, kept by each worker."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from feature_store import keys
from feature_store.bucket_record import apply_to_buckets, count_since, read_buckets
from feature_store.definitions import Registry
from feature_store.layouts import FRESHNESS, FRESHNESS_BINS, FRESHNESS_BINS_PER_DOUBLING
from feature_store.online_store import OnlineStore
from feature_store.touches import TOUCH_COLUMNS

_OF_VIEW = Gauge(
    "afterclick_feature_store_feature_freshness_seconds",
    "Age of the newest event that the records of a feature view hold, as this worker saw them",
    ["feature_view"],
    multiprocess_mode="livemin",
)
STALE_MS = 3_600_000
"""A worker that has said nothing for an hour is forgotten."""


class FreshnessHistogram:
    """One worker's freshness over the last five minutes, written to the store at most once a second.

    It counts what this worker saw, twice what it did twice: a measurement of the work, not a window over events.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._record: bytes | None = None
        self._position = 0
        self._written_at_ms = 0
        self._changed = False

    def observe(self, ages_ms: NDArray[np.int64], *, now_ms: int) -> None:
        """Count events that were `ages_ms` old when their records were written, at `now_ms`."""
        counts = np.bincount(_bin_of(ages_ms), minlength=FRESHNESS_BINS)
        bins = np.flatnonzero(counts)
        self._position += 1
        touches = np.zeros((len(bins), TOUCH_COLUMNS), np.int64)
        touches[:, 1], touches[:, 3], touches[:, 4], touches[:, 5] = self._position, now_ms, bins, counts[bins]
        [self._record] = apply_to_buckets([self._record], touches, layout=FRESHNESS, log_id=0)
        self._changed = True

    async def flush(self, store: OnlineStore, *, now_ms: int) -> None:
        """Write it, if anything changed and the last time was more than a second ago."""
        if self._record is None or not self._changed or now_ms - self._written_at_ms < 1_000:
            return
        self._written_at_ms, self._changed = now_ms, False
        await store.send([("HSET", keys.FRESHNESS, self._worker, self._record)])


async def drop_stale_workers(store: OnlineStore, *, now_ms: int) -> None:
    """Take the histograms of workers that are gone out of the store."""
    [flat] = await store.send([("HGETALL", keys.FRESHNESS)])
    records = dict(zip(flat[::2], flat[1::2], strict=True))
    stale = [name for name, raw in records.items() if read_buckets(raw, FRESHNESS).newest_ms < now_ms - STALE_MS]
    if stale:
        await store.send([("HDEL", keys.FRESHNESS, *stale)])


def freshness_percentiles(records: list[bytes], *, start_ms: int, end_ms: int) -> tuple[int, dict[int, float]]:
    """How many events, and their age in ms at the percentiles 50, 95 and 99 (a bin's geometric mean: within 19 %)."""
    counts = np.zeros(FRESHNESS_BINS, np.int64)
    for raw in records:
        counts += count_since(read_buckets(raw, FRESHNESS), FRESHNESS, 0, start_ms=start_ms, end_ms=end_ms)
    total = int(counts.sum())
    if total == 0:
        return 0, {}
    reached = np.cumsum(counts)
    middles_ms = np.exp2((np.arange(FRESHNESS_BINS) + 0.5) / FRESHNESS_BINS_PER_DOUBLING)
    return total, {p: float(middles_ms[np.searchsorted(reached, total * p / 100)]) for p in (50, 95, 99)}


class ViewFreshness:
    """How old the newest event of each feature view is: a gauge that goes on rising while no event comes."""

    def __init__(self, registry: Registry) -> None:
        self._views_of: dict[str, list[str]] = {}
        for view in registry.views:
            for name in sorted({name for feature in view.features for name in feature.events}):
                self._views_of.setdefault(name, []).append(view.name)
        self._newest_ms: dict[str, int] = {}

    def applied(self, newest_ms_by_event: Mapping[str, int]) -> None:
        """Note, by event name, when the newest event whose records are written came."""
        for event, newest_ms in newest_ms_by_event.items():
            for view in self._views_of.get(event, ()):
                self._newest_ms[view] = max(self._newest_ms.get(view, 0), newest_ms)

    def tell(self, *, now_ms: int) -> None:
        """Set the gauges."""
        for view, newest_ms in self._newest_ms.items():
            _OF_VIEW.labels(view).set(max(0, now_ms - newest_ms) / 1000)


def _bin_of(ages_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    bins = np.floor(np.log2(np.maximum(ages_ms, 1)) * FRESHNESS_BINS_PER_DOUBLING).astype(np.int64)
    return np.asarray(np.minimum(bins, FRESHNESS_BINS - 1))
