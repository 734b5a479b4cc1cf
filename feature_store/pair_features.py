"""The features of a pair of items: how many visitors turned to both lately, from the two items' own sketches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from feature_store import layouts
from feature_store.bucket_features import ITEM_TTL_MS
from feature_store.bucket_record import BucketRecord, read_buckets, visitors_since
from feature_store.definitions import Aggregation, Calculated, Entity, Feature, FeatureView
from feature_store.layouts import DAY_MS, HOUR_MS
from feature_store.unique_visitors import STEP_MS

ITEM_PAIR: Final = Entity("item_pair", "two item ids", "two products that one visitor may turn to")

_OWNER = "feature_store"
_EVENTS = ("view_item", "add_to_cart", "purchase")


class PairMoment:
    """Two items at `now_ms`.

    `records` are those of the first item in all partitions, then as many of the second in the same order. A visitor
    lives in one partition and falls into the same cell of both items' sketches, so that the cell-wise later time is the
    sketch of those who turned to either; who turned to both are those of each less those of either. Nothing is stored
    for it, and no order of arrival matters.
    """

    def __init__(self, records: Sequence[bytes | None], now_ms: int, _: Callable[[int], str]) -> None:
        half = len(records) // 2
        self._first = [read_buckets(record, layouts.ITEM) for record in records[:half]]
        self._second = [read_buckets(record, layouts.ITEM) for record in records[half:]]
        self._now_ms = now_ms

    def covisitors(self, window_ms: int) -> float:
        """Visitors who turned to both in the window, at least 0."""
        each = self._visitors(self._first, window_ms) + self._visitors(self._second, window_ms)
        either = [_either(a, b) for a, b in zip(self._first, self._second, strict=True)]
        return max(0.0, each - self._visitors(either, window_ms))

    def share(self, window_ms: int) -> float:
        """The same over the visitors of the item with fewer: 0 to 1."""
        fewer = min(self._visitors(self._first, window_ms), self._visitors(self._second, window_ms))
        return min(1.0, self.covisitors(window_ms) / fewer) if fewer else 0.0

    def _visitors(self, records: Sequence[BucketRecord], window_ms: int) -> float:
        start_ms = self._now_ms - window_ms
        return sum(visitors_since(record, start_ms=start_ms, end_ms=self._now_ms) for record in records)


def _either(first: BucketRecord, second: BucketRecord) -> BucketRecord:
    """Of two items in one partition, the sketch of the visitors of either."""
    steps = np.maximum(first.visitor_steps, second.visitor_steps)
    return BucketRecord(max(first.newest_ms, second.newest_ms), first.cells, steps)


def _covisitors_of(moment: PairMoment, window_ms: int) -> float:
    return moment.covisitors(window_ms)


def _share_of(moment: PairMoment, window_ms: int) -> float:
    return moment.share(window_ms)


def _features() -> list[Calculated]:
    found = []
    for window, window_ms in (("1h", HOUR_MS), ("24h", DAY_MS)):
        for name, unit, what, calculate in (
            ("covisitors", "visitors", "different visitors who turned to both", _covisitors_of),
            ("covisited_share", "share", "these over the visitors of the item that has fewer", _share_of),
        ):
            feature = Feature(
                f"{name}_{window}",
                ITEM_PAIR.name,
                "float64",
                unit,
                Aggregation("visitor_key", "unique_count", window_ms, STEP_MS),
                "an estimate: standard error about a tenth of the visitors of either; fewer are not told from 0",
                0.0,
                _OWNER,
                f"{what} in the last {window}",
                _EVENTS,
            )
            found.append(Calculated(feature, partial(calculate, window_ms=window_ms)))
    return found


ITEM_PAIR_VIEW: Final = FeatureView(
    ITEM_PAIR.name,
    ITEM_PAIR.name,
    ITEM_TTL_MS,
    "events",
    _OWNER,
    "how many visitors two items share, from the records of both",
    tuple(_features()),
    PairMoment,
)
