"""The features of a visitor: latest events, counts over sliding windows, the visit under way, leanings, the cart."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from feature_store.definitions import Aggregation, Calculated, Dtype, Entity, Feature, FeatureView, Function, Value
from feature_store.kinds import KIND_OF_EVENT, Kind
from feature_store.moments import VisitorMoment
from feature_store.visitor_layout import CART_LINES_MAX, EVENTS_MAX, SHOWN_MAX
from feature_store.windows import VISITOR_WINDOWS_MS

VISITOR: Final = Entity(
    "visitor", "16 bytes of keyed hash of the browser's id", "a browser, or the browsers of a person"
)
CATEGORIES_MAX: Final = 5
TTL_MS: Final = 30 * 86_400_000

_OWNER = "feature_store"
_DELIBERATE = tuple(KIND_OF_EVENT)
_EVENT_OF_KIND = {kind: name for name, kind in KIND_OF_EVENT.items()}
_CART_EVENTS = ("add_to_cart", "remove_from_cart", "purchase")
_EXACT = "exact"
_AT_LEAST = f'exact to the millisecond; "at least" once {EVENTS_MAX} newer events have come'
_BUCKETED = (
    f"exact for the latest {EVENTS_MAX} events; of earlier ones never less, more by those of at most {{}} before"
)
_EDGES = {
    "1m": _AT_LEAST,
    "5m": _AT_LEAST,
    "1h": _AT_LEAST,
    "24h": _BUCKETED.format("1 h"),
    "7d": _BUCKETED.format("6 h"),
}
_OF_LATEST = f"over the latest {EVENTS_MAX} events"


def _feature(
    name: str,
    dtype: Dtype,
    unit: str,
    default: Value,
    description: str,
    calculate: Callable[[VisitorMoment], Value],
    *,
    column: str = "event",
    function: Function = "derived",
    window_ms: int | None = None,
    edge: str = _EXACT,
    events: tuple[str, ...] = _DELIBERATE,
) -> Calculated:
    aggregation = Aggregation(column, function, window_ms)
    feature = Feature(name, "visitor", dtype, unit, aggregation, edge, default, _OWNER, description, events)
    return Calculated(feature, calculate)


def _count_of(moment: VisitorMoment, window: str, place: int) -> int:
    return moment.counts(window).counts[place]


def _short_of(moment: VisitorMoment, window: str) -> bool:
    return moment.counts(window).at_least


def _since(moment: VisitorMoment, kind: Kind) -> int | None:
    last_ms = moment.last_ms.get(kind)
    return None if last_ms is None else moment.now_ms - last_ms


def _counts() -> list[Calculated]:
    return [
        _feature(
            f"{kind.name.lower()}_{window}",
            "int64",
            "events",
            0,
            f"{kind.name.lower().replace('_', ' ')} events in the last {window}",
            partial(_count_of, window=window, place=place),
            function="count",
            window_ms=window_ms,
            edge=_EDGES[window],
            events=(_EVENT_OF_KIND[kind],),
        )
        for place, kind in enumerate(Kind)
        for window, window_ms in VISITOR_WINDOWS_MS.items()
    ]


def _at_least() -> list[Calculated]:
    return [
        _feature(
            f"at_least_{window}",
            "bool",
            "",
            False,
            f"whether the counts of {window} may be short of events that the record let go",
            partial(_short_of, window=window),
            window_ms=window_ms,
        )
        for window, window_ms in VISITOR_WINDOWS_MS.items()
    ]


def _recency() -> list[Calculated]:
    return [
        _feature(
            f"since_{kind.name.lower()}_ms",
            "int64",
            "ms",
            None,
            f"time since the newest {kind.name.lower().replace('_', ' ')} event",
            partial(_since, kind=kind),
            column="time_ms",
            function="last",
            events=(_EVENT_OF_KIND[kind],),
        )
        for kind in Kind
    ]


def _list(
    name: str, dtype: Dtype, unit: str, what: str, calculate: Callable[[VisitorMoment], Value], **more: Any
) -> Calculated:
    return _feature(name, dtype, unit, [], what, calculate, function="list", **more)


_LATEST = f"of the latest {EVENTS_MAX} deliberate events by event time, oldest first"
_SESSION_EDGE = f'exact; "at least" in a visit of more than {EVENTS_MAX} events'
_CART_EDGE = (
    f"exact for the latest {EVENTS_MAX} events; of those before at most {CART_LINES_MAX} lines, the newest kept"
)

_CALCULATED: Final = (
    _list("event_items", "string_list", "item ids", f"the item {_LATEST}; empty for a search", lambda m: (
        m.names(m.visitor.item_index[: m.known].tolist())), column="item_id"),
    _list("event_kinds", "int64_list", "kind numbers", f"the kind {_LATEST} (`kinds.py`)", lambda m: (
        m.visitor.kind[: m.known].tolist())),
    _list("event_times_ms", "int64_list", "Unix ms", f"the time {_LATEST}", lambda m: (
        m.visitor.time_ms[: m.known].tolist()), column="time_ms"),
    _list("event_quantities", "int64_list", "pieces", f"the quantity {_LATEST}, at most 255", lambda m: (
        m.visitor.quantity[: m.known].tolist()), column="quantity"),
    _list("shown_items", "string_list", "item ids", f"the last {SHOWN_MAX} items shown, by event time", lambda m: (
        m.shown_items), column="item_id", events=("view_item_list",)),
    *_counts(),
    *_at_least(),
    *_recency(),
    _feature("first_seen_ms", "int64", "Unix ms", None, "time of the first deliberate event", lambda m: (
        m.visitor.first_ms if 0 < m.visitor.first_ms <= m.now_ms else None)),
    _feature("session_start_ms", "int64", "Unix ms", None, "when the visit under way began", lambda m: (
        m.session.start_ms if m.session else None), edge=_SESSION_EDGE),
    _feature("session_length_ms", "int64", "ms", 0, "from the first to the newest event of the visit", lambda m: (
        m.session.length_ms if m.session else 0), edge=_SESSION_EDGE),
    _feature("session_depth", "int64", "events", 0, "deliberate events in the visit under way", lambda m: (
        m.session.depth if m.session else 0), edge=_SESSION_EDGE),
    _feature("session_at_least", "bool", "", False, "whether the visit may be longer than that", lambda m: (
        m.session.at_least if m.session else False)),
    _list("top_categories", "string_list", "names", f"the {CATEGORIES_MAX} categories leant to most, {_OF_LATEST}, "
        "an event's weight halved every 7 days", lambda m: (
        [name for name, _ in m.categories[:CATEGORIES_MAX]]), column="item_category"),
    _list("top_category_shares", "float64_list", "share", "the share of each of `top_categories` in all", lambda m: (
        [share for _, share in m.categories[:CATEGORIES_MAX]]), column="item_category"),
    _feature("price_mean", "float64", "currency", None, f"geometric mean of the items' prices, {_OF_LATEST}, weighed "
        "as the categories", lambda m: m.price.mean if m.price else None, column="price", edge="prices to 4 %"),
    _feature("price_spread", "float64", "log", None, "standard deviation of the logarithm of these prices", lambda m: (
        m.price.spread if m.price else None), column="price", edge="prices to 4 %"),
    _list("cart_items", "string_list", "item ids", "what is in the cart, touched last at the end", lambda m: (
        m.names([line.item_index for line in m.cart])), column="item_id", edge=_CART_EDGE, events=_CART_EVENTS),
    _list("cart_quantities", "int64_list", "pieces", "how many of each of `cart_items`", lambda m: (
        [line.quantity for line in m.cart]), column="quantity", edge=_CART_EDGE, events=_CART_EVENTS),
    _feature("cart_pieces", "int64", "pieces", 0, "pieces in the cart", lambda m: (
        sum(line.quantity for line in m.cart)), column="quantity", edge=_CART_EDGE, events=_CART_EVENTS),
)  # fmt: skip

VISITOR_VIEW: Final = FeatureView(
    "visitor",
    "visitor",
    TTL_MS,
    "events",
    _OWNER,
    "what a visitor did lately and leans to",
    _CALCULATED,
    VisitorMoment,
)
