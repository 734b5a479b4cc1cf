"""What the dashboard shows: rates by kind, top and rising products, placements, freshness; all of it from windows."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from feature_store import keys, layouts
from feature_store.bucket_record import BucketLayout, BucketRecord, count_since, read_buckets
from feature_store.freshness import freshness_percentiles
from feature_store.online_store import OnlineStore
from feature_store.top_items_record import read_top_items

RATE_MS = 10_000
"""Events per second are an average over this time."""
FRESHNESS_MS = 300_000
CANDIDATES_MAX = 64
"""Products whose own records are read; they are the most viewed of the last half hour or so."""
TOP_COUNT = 10
PLACEMENTS_SHOWN_MAX = 50


class KindRate(msgspec.Struct, frozen=True):
    """One event name: events a second over the last 10 s, and how many in the last hour."""

    event: str
    per_second: float
    count_1h: int


class ProductViews(msgspec.Struct, frozen=True):
    """One product: views in the last hour, in the hour before, and purchases in the last hour."""

    item_id: str
    views_1h: int
    views_hour_before: int
    adds_1h: int
    purchases_1h: int

    @property
    def change(self) -> int:
        """Views more than in the hour before."""
        return self.views_1h - self.views_hour_before


class PlacementNumbers(msgspec.Struct, frozen=True):
    """One placement over the last hour: suggested items shown and clicked; `ctr` None while nothing was shown."""

    placement: str
    shown_1h: int
    clicked_1h: int
    ctr: float | None


class Freshness(msgspec.Struct, frozen=True):
    """From the collector to the written records, over the last five minutes; None without events."""

    events: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class DashboardNumbers(msgspec.Struct, frozen=True):
    """Everything at one instant; `top` and `rising` best first."""

    at_ms: int
    kinds: tuple[KindRate, ...]
    top: tuple[ProductViews, ...]
    rising: tuple[ProductViews, ...]
    placements: tuple[PlacementNumbers, ...]
    freshness: Freshness


async def dashboard_numbers(store: OnlineStore, now_ms: int) -> DashboardNumbers:
    """Read the windows at `now_ms`: four round trips, whatever the number of visitors and items.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    _, partitions = await store.meta()
    products = await _products(store, partitions, now_ms)
    return DashboardNumbers(
        at_ms=now_ms,
        kinds=await _kinds(store, partitions, now_ms),
        top=tuple(sorted(products, key=lambda p: (-p.views_1h, p.item_id))[:TOP_COUNT]),
        rising=tuple(sorted((p for p in products if p.change > 0), key=lambda p: (-p.change, p.item_id))[:TOP_COUNT]),
        placements=await _placements(store, partitions, now_ms),
        freshness=await _freshness(store, now_ms),
    )


async def _kinds(store: OnlineStore, partitions: int, now_ms: int) -> tuple[KindRate, ...]:
    layout = layouts.EVENT_KINDS
    records = await _buckets(store, [keys.event_kinds_key(partition) for partition in range(partitions)], layout)
    # Whole seconds that are over: the present one would make the rate sag by up to a tenth.
    end_ms = now_ms // layouts.SECOND_MS * layouts.SECOND_MS - 1
    lately = _sum(records, layout, layouts.BY_SECOND, start_ms=end_ms + 1 - RATE_MS, end_ms=end_ms)
    hour = _sum(records, layout, layouts.KINDS_BY_MINUTE, start_ms=now_ms - layouts.HOUR_MS, end_ms=now_ms)
    return tuple(
        KindRate(name, float(lately[i]) / (RATE_MS / 1000), int(hour[i])) for i, name in enumerate(layout.metrics)
    )


async def _products(store: OnlineStore, partitions: int, now_ms: int) -> list[ProductViews]:
    candidates = await top_item_indexes(store, partitions)
    if not candidates:
        return []
    ids = await store.send([("LINDEX", keys.ITEM_IDS, index) for index in candidates])
    wanted = [keys.item_key(partition, index) for index in candidates for partition in range(partitions)]
    records = await _buckets(store, wanted, layouts.ITEM)
    products = []
    for i, item_id in enumerate(ids):
        of_item = records[i * partitions : (i + 1) * partitions]
        views, adds, purchases = _last_hour(of_item, layouts.ITEM, now_ms)
        before = _sum(
            of_item,
            layouts.ITEM,
            layouts.BY_MINUTE,
            start_ms=now_ms - 2 * layouts.HOUR_MS,
            # The bucket that the last hour cuts is counted there.
            end_ms=(now_ms - layouts.HOUR_MS) // layouts.MINUTE_MS * layouts.MINUTE_MS - 1,
        )
        products.append(ProductViews(item_id.decode(), int(views), int(before[0]), int(adds), int(purchases)))
    return [product for product in products if product.views_1h > 0]


async def top_item_indexes(store: OnlineStore, partitions: int) -> list[int]:
    """The indexes of the items with the most views lately, faded, over all partitions; at most `CANDIDATES_MAX`."""
    records = await store.read([keys.top_items_key(partition) for partition in range(partitions)])
    lists = [read_top_items(raw) for raw in records]
    newest = max((found.epoch for found in lists), default=0)
    weights: dict[int, float] = {}
    for found in lists:
        for index, weight in zip(found.item_index.tolist(), found.weight.tolist(), strict=True):
            # Each list's weights are told at the half-life it has come to.
            weights[index] = weights.get(index, 0.0) + weight * 0.5 ** (newest - found.epoch)
    return sorted(weights, key=lambda index: (-weights[index], index))[:CANDIDATES_MAX]


async def _placements(store: OnlineStore, partitions: int, now_ms: int) -> tuple[PlacementNumbers, ...]:
    [members] = await store.send([("SMEMBERS", keys.PLACEMENTS)])
    names = sorted(member.decode() for member in members)
    wanted = [keys.placement_key(partition, name) for name in names for partition in range(partitions)]
    records = await _buckets(store, wanted, layouts.PLACEMENT)
    by_placement: dict[str, list[BucketRecord]] = {}
    for i, name in enumerate(names):
        placement, _ = keys.split_placement_name(name)
        by_placement.setdefault(placement, []).extend(records[i * partitions : (i + 1) * partitions])
    numbers = []
    for name, of_placement in by_placement.items():
        shown, clicked, *_ = (int(count) for count in _last_hour(of_placement, layouts.PLACEMENT, now_ms))
        if shown or clicked:
            numbers.append(PlacementNumbers(name, shown, clicked, clicked / shown if shown else None))
    return tuple(sorted(numbers, key=lambda n: (-n.shown_1h, n.placement))[:PLACEMENTS_SHOWN_MAX])


async def _freshness(store: OnlineStore, now_ms: int) -> Freshness:
    [flat] = await store.send([("HVALS", keys.FRESHNESS)])
    events, at = freshness_percentiles(flat, start_ms=now_ms - FRESHNESS_MS, end_ms=now_ms)
    return Freshness(events, at.get(50), at.get(95), at.get(99))


async def _buckets(store: OnlineStore, wanted: Sequence[bytes], layout: BucketLayout) -> list[BucketRecord]:
    return [read_buckets(raw, layout) for raw in await store.read(wanted)]


def _last_hour(records: Sequence[BucketRecord], layout: BucketLayout, now_ms: int) -> NDArray[np.int64]:
    return _sum(records, layout, layouts.BY_MINUTE, start_ms=now_ms - layouts.HOUR_MS, end_ms=now_ms)


def _sum(
    records: Sequence[BucketRecord], layout: BucketLayout, resolution: int, *, start_ms: int, end_ms: int
) -> NDArray[np.int64]:
    total = np.zeros(len(layout.metrics), np.int64)
    for record in records:
        total += count_since(record, layout, resolution, start_ms=start_ms, end_ms=end_ms)
    return total
