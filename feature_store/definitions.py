"""Every feature, declared once: the names, windows and meanings that records, dumps and the docs page derive from."""

from typing import Final, Literal

import msgspec

from feature_store import layouts
from feature_store.bucket_record import BucketLayout
from feature_store.kinds import Kind
from feature_store.visitor_record import EVENTS_MAX, SHOWN_MAX
from feature_store.windows import VISITOR_WINDOWS_MS

Entity = Literal["visitor", "item", "placement", "event_name"]


class Feature(msgspec.Struct, frozen=True):
    """One feature, as a consumer names it: `entity:name`.

    `window_ms`: None for what is no count over time. `edge`: by how much the window may differ from an exact one.
    """

    name: str
    entity: Entity
    dtype: str
    unit: str
    window_ms: int | None
    edge: str
    default: str
    owner: str
    description: str
    tags: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`entity:name`."""
        return f"{self.entity}:{self.name}"


class BucketWindow(msgspec.Struct, frozen=True):
    """A window that is read from the buckets of a record: which ring, how far back; a decayed one only fades."""

    name: str
    resolution: int
    window_ms: int
    decayed: bool = False


_LAST_HOUR = BucketWindow("1h", layouts.BY_MINUTE, layouts.HOUR_MS)
_LAST_DAY = BucketWindow("24h", layouts.BY_HOUR, layouts.DAY_MS)

ITEM_WINDOWS: Final = (
    _LAST_HOUR,
    BucketWindow("2h", layouts.BY_MINUTE, 2 * layouts.HOUR_MS),
    _LAST_DAY,
    BucketWindow("decayed", layouts.DECAYED, layouts.HALF_LIFE_MS, decayed=True),
)
PLACEMENT_WINDOWS: Final = (_LAST_HOUR, _LAST_DAY)
EVENT_NAME_WINDOWS: Final = (
    BucketWindow("1m", layouts.BY_SECOND, layouts.MINUTE_MS),
    BucketWindow("1h", layouts.KINDS_BY_MINUTE, layouts.HOUR_MS),
)

_OWNER = "feature_store"
_OF_ITEM = {"view": "views of the item", "add": "times it was put into a cart", "purchase": "times it was bought"}
_OF_PLACEMENT = {"shown": "suggested items shown there", "clicked": "suggested items clicked there"}


def _visitor_features() -> tuple[Feature, ...]:
    counts = tuple(
        Feature(
            f"{kind.name.lower()}_{window}",
            "visitor",
            "int64",
            "events",
            window_ms,
            f'exact to the millisecond; "at least" once {EVENTS_MAX} newer events have come',
            "0",
            _OWNER,
            f"{kind.name.lower().replace('_', ' ')} events in the last {window}",
        )
        for kind in Kind
        for window, window_ms in VISITOR_WINDOWS_MS.items()
    )
    lists = (
        _list("events", f"the latest {EVENTS_MAX} deliberate events by event time: time, kind, quantity, item"),
        _list("shown", f"the last {SHOWN_MAX} items shown, by event time"),
    )
    return (*lists, *counts)


def _list(name: str, description: str) -> Feature:
    return Feature(name, "visitor", "list", "events", None, "exact", "empty", _OWNER, description, ("recommender",))


def _bucket_features(
    entity: Entity, layout: BucketLayout, windows: tuple[BucketWindow, ...], meanings: dict[str, str]
) -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"{metric}_{window.name}",
            entity,
            "float64" if window.decayed else "int64",
            "events",
            window.window_ms,
            _edge(layout, window),
            "0",
            _OWNER,
            meanings.get(metric, f"`{metric}` events")
            + (", each weighing half as much after every 7 days" if window.decayed else f" in the last {window.name}"),
            ("dashboard",) if window.name in {"1h", "2h", "1m"} else (),
        )
        for metric in layout.metrics
        for window in windows
    )


def _edge(layout: BucketLayout, window: BucketWindow) -> str:
    if window.decayed:
        return (
            "each event's weight to 0.05 %; events older than 7 half-lives may be left out (each weighed under 1/128)"
        )
    return (
        f"never less; more by what lies in at most {layout.resolutions[window.resolution].bucket_ms // 1000} s before"
    )


FEATURES: Final = (
    *_visitor_features(),
    *_bucket_features("item", layouts.ITEM, ITEM_WINDOWS, _OF_ITEM),
    *_bucket_features("placement", layouts.PLACEMENT, PLACEMENT_WINDOWS, _OF_PLACEMENT),
    *_bucket_features("event_name", layouts.EVENT_KINDS, EVENT_NAME_WINDOWS, {}),
)
"""Everything that can be read; `docs/features.md` is made from it."""
