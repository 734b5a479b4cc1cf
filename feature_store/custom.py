"""What a shop's own features are declared with, in a file of the shop; see docs/custom-features.md.

Three kinds: what is counted as events come (`CountedView`), what is computed from a visitor's or an item's state when
it is read (`computed`), and what needs data of the request too (`on_demand`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from zlib import crc32

import msgspec

from feature_store.bucket_record import BucketLayout, Resolution
from feature_store.definitions import Aggregation, Calculated, Dtype, Feature, Value
from feature_store.families import Family, bucket_family
from feature_store.layouts import BY_HOUR, BY_MINUTE, DAY_MS, HALF_LIFE_MS, HOUR_MS, MINUTE_MS
from feature_store.record_header import LAYOUT_CUSTOM
from ingest.events import Event, Item

WINDOWS: Final[Mapping[str, tuple[int, int]]] = {
    "5m": (BY_MINUTE, 5 * MINUTE_MS),
    "1h": (BY_MINUTE, HOUR_MS),
    "24h": (BY_HOUR, DAY_MS),
}
"""Windows that a counted view may have: which ring of buckets, how long."""
_RESOLUTIONS: Final = (Resolution(MINUTE_MS, 61), Resolution(HOUR_MS, 25), Resolution(HALF_LIFE_MS, 8, weighted=True))
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class CountedView(msgspec.Struct, frozen=True):
    """Counts by a key of the shop's own, kept by the worker in windows and decayed with a half-life of 7 days.

    Attributes:
        name: of the view and of its entity; lower-case letters, digits and `_`. What is counted under a name never
            changes: for other `counts` take another name.
        key: whose count a line of an event moves; None or "" for nobody's. A pure function of its arguments.
        counts: what is counted, and by which event.
        windows: of `WINDOWS`; a decayed count is always there.
    """

    name: str
    owner: str
    description: str
    key: Callable[[Event, Item], str | None]
    counts: Mapping[str, str]
    windows: tuple[str, ...] = ("1h", "24h")

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= _NAME_CHARACTERS:
            raise ValueError(f"counted view: wanted a name of a-z, 0-9 and _; got {self.name!r}")
        for window in self.windows:
            if window not in WINDOWS:
                raise ValueError(f"counted view {self.name}: wanted windows of {', '.join(WINDOWS)}; got {window}")

    @property
    def layout(self) -> BucketLayout:
        """What its records hold; their shape tells views apart that were changed under one name."""
        shape = crc32("\n".join([self.name, *(f"{k}={v}" for k, v in self.counts.items())]).encode()) & 0xFFFF
        return BucketLayout(LAYOUT_CUSTOM, tuple(self.counts), _RESOLUTIONS, shape=shape)

    @property
    def family(self) -> Family:
        """Its kind of record."""
        return bucket_family(f"custom_{self.name}", self.layout)


class OnDemand(msgspec.Struct, frozen=True):
    """A feature that is computed when it is asked for, from other features of the entity and from the request.

    Attributes:
        inputs: features of the same entity, by their bare names.
        calculate: of (values of the inputs by name, data of the request); a pure function.
    """

    feature: Feature
    inputs: tuple[str, ...]
    calculate: Callable[[Mapping[str, Value], Mapping[str, Any]], Value]


Declared = CountedView | Calculated | OnDemand
"""What may stand in the list `FEATURES` of a shop's file."""


def computed(
    entity: str,
    name: str,
    dtype: Dtype,
    calculate: Callable[[Any], Value],
    *,
    owner: str,
    description: str,
    unit: str = "",
    default: Value = None,
    events: tuple[str, ...] = (),
) -> Calculated:
    """A feature of a built-in entity that is computed from its state at the instant of reading.

    `calculate` takes a `moments.VisitorMoment`, or of any other entity a `moments.BucketsMoment`. It has its whole
    history at once, since nothing new is stored.
    """
    return Calculated(_feature(entity, name, dtype, owner, description, unit, default, events), calculate)


def on_demand(
    entity: str,
    name: str,
    dtype: Dtype,
    calculate: Callable[[Mapping[str, Value], Mapping[str, Any]], Value],
    *,
    inputs: tuple[str, ...] = (),
    owner: str,
    description: str,
    unit: str = "",
    default: Value = None,
) -> OnDemand:
    """A feature that needs data of the request; see `OnDemand`."""
    return OnDemand(_feature(entity, name, dtype, owner, description, unit, default, ()), inputs, calculate)


def _feature(
    entity: str,
    name: str,
    dtype: Dtype,
    owner: str,
    description: str,
    unit: str,
    default: Value,
    events: tuple[str, ...],
) -> Feature:
    aggregation = Aggregation("event", "derived")
    return Feature(
        name,
        entity,
        dtype,
        unit,
        aggregation,
        "as what it is computed from",
        default,
        owner,
        description,
        events,
        ("custom",),
    )
