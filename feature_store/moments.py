"""An entity at an instant: its records taken apart once, so that every feature of it is read from the same state."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from feature_store.affinity import PriceAffinity, category_affinity, price_affinity
from feature_store.bucket_record import BucketLayout, count_since, decayed_count, read_buckets, visitors_since
from feature_store.cart import CartLine, cart_at
from feature_store.keys import category_of
from feature_store.kinds import Kind
from feature_store.sessions import Session, session_at
from feature_store.visitor_record import VisitorRecord, merge_visitors, read_visitor
from feature_store.windows import VISITOR_WINDOWS_MS, KindCounts, count_by_kind, last_ms_by_kind

NameOf = Callable[[int], str]
"""The item's id, or the name of a category as `keys.category_name` has it, by its number."""


class VisitorMoment:
    """A visitor, or several browsers of one, at `now_ms`."""

    def __init__(self, records: Sequence[bytes | VisitorRecord | None], now_ms: int, name_of: NameOf) -> None:
        visitors = [record if isinstance(record, VisitorRecord) else read_visitor(record) for record in records]
        self.visitor: VisitorRecord = visitors[0] if len(visitors) == 1 else merge_visitors(visitors)
        self.now_ms = now_ms
        self._name_of = name_of
        self._counts: dict[str, KindCounts] = {}

    def counts(self, window: str) -> KindCounts:
        """Events by kind in one of `VISITOR_WINDOWS_MS`."""
        found = self._counts.get(window)
        if found is None:
            found = count_by_kind(self.visitor, window_ms=VISITOR_WINDOWS_MS[window], now_ms=self.now_ms)
            self._counts[window] = found
        return found

    @cached_property
    def known(self) -> int:
        """How many of the kept events are not after `now_ms`; the first ones."""
        return int(np.searchsorted(self.visitor.time_ms, self.now_ms, side="right"))

    @cached_property
    def session(self) -> Session | None:
        """The visit under way."""
        return session_at(self.visitor, now_ms=self.now_ms)

    @cached_property
    def cart(self) -> list[CartLine]:
        """The lines of the cart."""
        return cart_at(self.visitor, now_ms=self.now_ms)

    @cached_property
    def last_ms(self) -> dict[Kind, int]:
        """When the newest event of each kind came."""
        return last_ms_by_kind(self.visitor, now_ms=self.now_ms)

    @cached_property
    def categories(self) -> list[tuple[str, float]]:
        """Categories and the visitor's leaning to them, the largest first."""
        found = category_affinity(self.visitor, now_ms=self.now_ms)
        # Numbers depend on the order of arrival, names do not.
        named = [(category_of(self._name_of(number)), share) for number, share in found]
        return sorted(named, key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def price(self) -> PriceAffinity | None:
        """What the visitor's items cost."""
        return price_affinity(self.visitor, now_ms=self.now_ms)

    @cached_property
    def shown_items(self) -> list[str]:
        """The items shown last, oldest first."""
        shown = self.visitor.shown_item_index[self.visitor.shown_time_ms <= self.now_ms]
        return self.names(shown.tolist())

    def names(self, numbers: Sequence[int]) -> list[str]:
        """Item ids; empty text for an event without item."""
        return [self._name_of(number) if number else "" for number in numbers]


class BucketsMoment:
    """An item, a category, a placement or the shop at `now_ms`: the sum of its partitions' records."""

    def __init__(self, layout: BucketLayout, records: Sequence[bytes | None], now_ms: int) -> None:
        self._layout = layout
        self._records = [read_buckets(record, layout) for record in records if record is not None]
        self.now_ms = now_ms
        self._sums: dict[tuple[int, int, int], NDArray[np.int64]] = {}

    def count(self, metric: str, resolution: int, window_ms: int, *, ago_ms: int = 0) -> int:
        """Events of `metric` in the window that ended `ago_ms` ago, from the buckets of `resolution`.

        A window that ended in the past ends before the bucket that the later window begins in, which counts it whole.
        """
        found = self._sums.get((resolution, window_ms, ago_ms))
        if found is None:
            found = np.zeros(len(self._layout.metrics), np.int64)
            end_ms = self.now_ms - ago_ms
            start_ms = end_ms - window_ms
            if ago_ms:
                bucket_ms = self._layout.resolutions[resolution].bucket_ms
                end_ms = end_ms // bucket_ms * bucket_ms - 1
            for record in self._records:
                found += count_since(record, self._layout, resolution, start_ms=start_ms, end_ms=end_ms)
            self._sums[resolution, window_ms, ago_ms] = found
        return int(found[self._layout.metrics.index(metric)])

    def decayed(self, metric: str, resolution: int) -> float:
        """The events of `metric`, each weighing half as much after every half-life."""
        return float(self._decayed(resolution)[self._layout.metrics.index(metric)])

    def visitors(self, window_ms: int) -> float:
        """Different visitors in the window; they live in one partition each, so that the estimates add up."""
        start_ms = self.now_ms - window_ms
        return sum(visitors_since(record, start_ms=start_ms, end_ms=self.now_ms) for record in self._records)

    def _decayed(self, resolution: int) -> NDArray[np.float64]:
        total = np.zeros(len(self._layout.metrics))
        for record in self._records:
            total += decayed_count(record, self._layout, resolution, now_ms=self.now_ms)
        return total
