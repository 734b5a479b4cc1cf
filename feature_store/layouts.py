"""What is counted for an item, a placement, the event names and the worker's own freshness, and how finely."""

from typing import Final, get_args

from feature_store.bucket_record import BucketLayout, Resolution
from feature_store.record_header import (
    LAYOUT_CATEGORY,
    LAYOUT_EVENT_KINDS,
    LAYOUT_FRESHNESS,
    LAYOUT_ITEM,
    LAYOUT_PLACEMENT,
)
from ingest.events import EventName

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
HALF_LIFE_MS: Final = 7 * DAY_MS

# A window of n buckets touches n + 1 of them. Two hours of minutes, so that an hour can be held against the one before.
_TWO_HOURS = Resolution(MINUTE_MS, 121)
_DAY = Resolution(HOUR_MS, 25)
BY_MINUTE: Final = 0
BY_HOUR: Final = 1
DECAYED: Final = 2
"""Places of the resolutions in the layouts below."""

_DECAYING = Resolution(HALF_LIFE_MS, 8, weighted=True)
_ITEM_METRICS = ("view", "add", "purchase")
BY_TEN_SECONDS: Final = 3

# What the first release stored; rings that are still kept are taken over.
_FIRST_ITEM = BucketLayout(2, _ITEM_METRICS, (_TWO_HOURS, _DAY, _DECAYING))
_FIRST_PLACEMENT = BucketLayout(3, ("shown", "clicked"), (_TWO_HOURS, _DAY))

ITEM = BucketLayout(
    LAYOUT_ITEM, _ITEM_METRICS, (_TWO_HOURS, _DAY, _DECAYING, Resolution(10 * SECOND_MS, 7)), True, _FIRST_ITEM
)
ITEM_METRIC_OF_EVENT: Final = {"view_item": 0, "add_to_cart": 1, "purchase": 2}
VIEWED: Final = 0
CATEGORY = BucketLayout(LAYOUT_CATEGORY, _ITEM_METRICS, (_TWO_HOURS, _DAY, _DECAYING), uniques=True)

PLACEMENT = BucketLayout(
    LAYOUT_PLACEMENT, ("shown", "clicked", "added", "sold", "revenue"), (_TWO_HOURS, _DAY), False, _FIRST_PLACEMENT
)
PLACEMENT_METRIC_OF_EVENT: Final = {"view_item_list": 0, "select_item": 1, "add_to_cart": 2, "purchase": 3}
SOLD: Final = 3
REVENUE: Final = 4
"""In hundredths of the shop's currency, of what was sold."""

EVENT_KINDS = BucketLayout(
    LAYOUT_EVENT_KINDS, tuple(get_args(EventName)), (Resolution(SECOND_MS, 121), Resolution(MINUTE_MS, 61))
)
BY_SECOND: Final = 0
KINDS_BY_MINUTE: Final = 1

FRESHNESS_BINS: Final = 40
FRESHNESS_BINS_PER_DOUBLING: Final = 2
"""Bin b holds 2^(b/2) to 2^((b+1)/2) ms; the last one everything above 12 minutes."""
FRESHNESS = BucketLayout(
    LAYOUT_FRESHNESS, tuple(f"bin_{b}" for b in range(FRESHNESS_BINS)), (Resolution(10 * SECOND_MS, 31),)
)
