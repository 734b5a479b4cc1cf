"""The features that are counted in buckets: of items, categories, placements and the names of events."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from feature_store import layouts
from feature_store.bucket_record import BucketLayout
from feature_store.definitions import Aggregation, Calculated, Entity, Feature, FeatureView
from feature_store.layouts import DAY_MS, HALF_LIFE_MS, HOUR_MS, MINUTE_MS
from feature_store.moments import BucketsMoment
from feature_store.unique_visitors import STEP_MS

ITEM: Final = Entity("item", "item id", "a product")
CATEGORY: Final = Entity("category", "category, as the events' `item_category`", "products of one category")
PLACEMENT: Final = Entity("placement", "placement, and variant if any", "where suggestions are shown")
EVENT_NAME: Final = Entity("event_name", "none: the whole shop", "events by their name")

ITEM_TTL_MS: Final = 60 * DAY_MS
"""Eight half-lives and a bit: after it nothing is left of what the record held."""
CONVERSION_PRIOR: Final = (0.02, 50.0)
"""A conversion is drawn towards this share as if by so many views."""
TREND_PRIOR: Final = 5.0
"""Views added to both hours, so that a few more views of a quiet item are no trend."""

_OWNER = "feature_store"


class BucketWindow(NamedTuple):
    """A window that is read from the buckets of a record: which ring, how far back."""

    name: str
    resolution: int
    window_ms: int


_5M = BucketWindow("5m", layouts.BY_MINUTE, 5 * MINUTE_MS)
_1H = BucketWindow("1h", layouts.BY_MINUTE, HOUR_MS)
_2H = BucketWindow("2h", layouts.BY_MINUTE, 2 * HOUR_MS)
_24H = BucketWindow("24h", layouts.BY_HOUR, DAY_MS)

_ITEM_WINDOWS = (BucketWindow("1m", layouts.BY_TEN_SECONDS, MINUTE_MS), _5M, _1H, _2H, _24H)
_CATEGORY_WINDOWS = (_5M, _1H, _24H)
_PLACEMENT_WINDOWS = (_1H, _24H)
_EVENT_NAME_WINDOWS = (
    BucketWindow("1m", layouts.BY_SECOND, MINUTE_MS),
    BucketWindow("1h", layouts.KINDS_BY_MINUTE, HOUR_MS),
)
_MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "view": ("views", "view_item"),
    "add": ("times put into a cart", "add_to_cart"),
    "purchase": ("times bought", "purchase"),
    "shown": ("suggested items shown there", "view_item_list"),
    "clicked": ("suggested items clicked there", "select_item"),
    "added": ("suggested items put into a cart from there", "add_to_cart"),
    "sold": ("pieces of suggested items bought from there", "purchase"),
    "revenue": ("what these were sold for", "purchase"),
}
"""Of each metric what it counts, and the event that it counts."""


def _counted(entity: str, layout: BucketLayout, windows: Sequence[BucketWindow]) -> list[Calculated]:
    return [_count(entity, layout, metric, window) for metric in layout.metrics for window in windows]


def _count(entity: str, layout: BucketLayout, metric: str, window: BucketWindow) -> Calculated:
    what, event = _MEANINGS.get(metric, (f"`{metric}` events", metric))
    bucket_ms = layout.resolutions[window.resolution].bucket_ms
    money = metric == "revenue"
    feature = Feature(
        f"{metric}_{window.name}",
        entity,
        "float64" if money else "int64",
        "currency" if money else "events",
        Aggregation("price" if money else "event", "sum" if money else "count", window.window_ms, bucket_ms),
        f"never less; more by what lies in at most {bucket_ms // 1000} s before",
        0,
        _OWNER,
        f"{what} in the last {window.name}",
        (event,),
    )
    if money:
        return Calculated(feature, lambda m: m.count(metric, window.resolution, window.window_ms) / 100)
    return Calculated(feature, lambda m: m.count(metric, window.resolution, window.window_ms))


def _decayed(entity: str, layout: BucketLayout) -> list[Calculated]:
    return [
        Calculated(
            Feature(
                f"{metric}_decayed",
                entity,
                "float64",
                "events",
                Aggregation("event", "decayed_count", HALF_LIFE_MS),
                "each event's weight to 0.05 %; events older than 7 half-lives may be left out (under 1/128 each)",
                0.0,
                _OWNER,
                f"{_MEANINGS[metric][0]}, each weighing half as much after every 7 days",
                (_MEANINGS[metric][1],),
            ),
            partial(_decayed_of, metric=metric),
        )
        for metric in layout.metrics
    ]


def _decayed_of(moment: BucketsMoment, metric: str) -> float:
    return moment.decayed(metric, layouts.DECAYED)


def _visitors_of(moment: BucketsMoment, window_ms: int) -> float:
    return moment.visitors(window_ms)


def _visitors(entity: str) -> list[Calculated]:
    return [
        Calculated(
            Feature(
                f"visitors_{name}",
                entity,
                "float64",
                "visitors",
                Aggregation("visitor_key", "unique_count", window_ms, STEP_MS),
                "an estimate: standard error 16 % by partition, so 16 % / sqrt(partitions); and those of up to "
                f"{STEP_MS // 1000} s before",
                0.0,
                _OWNER,
                f"different visitors who viewed, put into a cart or bought it in the last {name}",
                ("view_item", "add_to_cart", "purchase"),
            ),
            partial(_visitors_of, window_ms=window_ms),
        )
        for name, window_ms in (("1h", HOUR_MS), ("24h", DAY_MS))
    ]


def conversion(moment: BucketsMoment) -> float:
    """Purchases over views, both decayed, drawn towards `CONVERSION_PRIOR`; at most 1."""
    share, views = CONVERSION_PRIOR
    bought, viewed = moment.decayed("purchase", layouts.DECAYED), moment.decayed("view", layouts.DECAYED)
    return min((bought + share * views) / (viewed + views), 1.0)


def trend(moment: BucketsMoment) -> float:
    """Views of the last hour over those of the hour before, both with `TREND_PRIOR` added: 1 for neither."""
    now = moment.count("view", layouts.BY_MINUTE, HOUR_MS)
    before = moment.count("view", layouts.BY_MINUTE, HOUR_MS, ago_ms=HOUR_MS)
    return (now + TREND_PRIOR) / (before + TREND_PRIOR)


def _derived(entity: str) -> list[Calculated]:
    share, views = CONVERSION_PRIOR
    of_conversion = Feature(
        "conversion",
        entity,
        "float64",
        "share",
        Aggregation("event", "derived", HALF_LIFE_MS),
        "as the decayed counts",
        share,
        _OWNER,
        f"purchase_decayed / view_decayed, drawn towards {share} as if by {views:.0f} views",
        ("view_item", "purchase"),
    )
    of_trend = Feature(
        "trend",
        entity,
        "float64",
        "ratio",
        Aggregation("event", "derived", 2 * HOUR_MS, MINUTE_MS),
        "as the hours' counts",
        1.0,
        _OWNER,
        f"views of the last hour over those of the hour before, both + {TREND_PRIOR:.0f}",
        ("view_item",),
    )
    return [Calculated(of_conversion, conversion), Calculated(of_trend, trend)]


def _view(
    entity: Entity, layout: BucketLayout, description: str, ttl_ms: int, calculated: Sequence[Calculated]
) -> FeatureView:
    moment = partial(_moment_of, layout)
    return FeatureView(entity.name, entity.name, ttl_ms, "events", _OWNER, description, tuple(calculated), moment)


def _moment_of(layout: BucketLayout, records: Sequence[bytes | None], now_ms: int, _: object) -> BucketsMoment:
    return BucketsMoment(layout, records, now_ms)


def _of_goods(entity: Entity, layout: BucketLayout, windows: Sequence[BucketWindow]) -> list[Calculated]:
    """What items and categories have alike."""
    name = entity.name
    return [*_counted(name, layout, windows), *_decayed(name, layout), *_visitors(name), *_derived(name)]


ITEM_VIEW: Final = _view(
    ITEM,
    layouts.ITEM,
    "how an item does: views, carts, purchases and visitors",
    ITEM_TTL_MS,
    _of_goods(ITEM, layouts.ITEM, _ITEM_WINDOWS),
)
CATEGORY_VIEW: Final = _view(
    CATEGORY,
    layouts.CATEGORY,
    "how a category does; only events that name their items' category count",
    ITEM_TTL_MS,
    _of_goods(CATEGORY, layouts.CATEGORY, _CATEGORY_WINDOWS),
)
PLACEMENT_VIEW: Final = _view(
    PLACEMENT,
    layouts.PLACEMENT,
    "what suggestions earn where they are shown; only events that carry a recommendation_id count",
    ITEM_TTL_MS,
    _counted(PLACEMENT.name, layouts.PLACEMENT, _PLACEMENT_WINDOWS),
)
EVENT_NAME_VIEW: Final = _view(
    EVENT_NAME,
    layouts.EVENT_KINDS,
    "how many events of each name come",
    ITEM_TTL_MS,
    _counted(EVENT_NAME.name, layouts.EVENT_KINDS, _EVENT_NAME_WINDOWS),
)
