"""Which records an event changes, and how: the one place where the vocabulary of events meets the records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store import keys, layouts
from feature_store.bucket_record import BucketLayout, apply_to_buckets
from feature_store.errors import EventRefusedError
from feature_store.identity_record import BROWSER, IDENTIFIED, NOBODY, apply_to_identities, split_key
from feature_store.kinds import KIND_OF_EVENT, Kind
from feature_store.record_header import LAYOUT_IDENTITY, LAYOUT_TOP_ITEMS, LAYOUT_VISITOR
from feature_store.top_items_record import apply_to_top_items
from feature_store.touches import ROW, TIME_MS_END, TOUCH_COLUMNS, Touches
from feature_store.visitor_record import SHOWN_KIND, apply_to_visitors
from ingest.bus.contract import Position
from ingest.events import Event

OTHER_PLACEMENT: Final = "(other)"
"""Events of a recommendation without a placement, and of placements beyond the limit, are counted here."""

_RING_KIND: Final = {**{name: int(kind) for name, kind in KIND_OF_EVENT.items()}, "view_item_list": SHOWN_KIND}
_EVENT_NUMBER: Final = {name: number for number, name in enumerate(layouts.EVENT_KINDS.metrics)}


class PlacedEvent(NamedTuple):
    """An event and where in the log it lies."""

    event: Event
    partition: int
    position: Position


class Family(NamedTuple):
    """One kind of record: its layout number and the pure function that brings records up to date."""

    name: str
    layout: int
    apply: Callable[[Sequence[bytes | None], Touches, NDArray[np.uint32], int], list[bytes | None]]
    """`apply(records, touches, item_hash, log_id)`: see `visitor_record.apply_to_visitors`."""


VISITORS: Final = Family(
    "visitor",
    LAYOUT_VISITOR,
    lambda records, touches, item_hash, log_id: apply_to_visitors(records, touches, item_hash=item_hash, log_id=log_id),
)
IDENTITIES: Final = Family(
    "identity",
    LAYOUT_IDENTITY,
    lambda records, touches, _, log_id: apply_to_identities(records, touches, log_id=log_id),
)
TOP_ITEMS: Final = Family(
    "top_items",
    LAYOUT_TOP_ITEMS,
    lambda records, touches, _, log_id: apply_to_top_items(records, touches, log_id=log_id),
)


def _bucket_family(name: str, layout: BucketLayout) -> Family:
    return Family(
        name,
        layout.number,
        lambda records, touches, _, log_id: apply_to_buckets(records, touches, layout=layout, log_id=log_id),
    )


ITEMS: Final = _bucket_family("item", layouts.ITEM)
PLACEMENTS: Final = _bucket_family("placement", layouts.PLACEMENT)
EVENT_KINDS: Final = _bucket_family("event_kinds", layouts.EVENT_KINDS)


class Touched(NamedTuple):
    """The records of one family that a batch changes: their keys and partitions, and the touches by row."""

    family: Family
    keys: list[bytes]
    partitions: list[int]
    touches: Touches

    def only(self, rows: Sequence[int]) -> "Touched":
        """The same for some of the records."""
        renumbered = np.full(len(self.keys), -1, np.int64)
        renumbered[rows] = np.arange(len(rows))
        touches = self.touches[renumbered[self.touches[:, ROW]] >= 0].copy()
        touches[:, ROW] = renumbered[touches[:, ROW]]
        return Touched(self.family, [self.keys[i] for i in rows], [self.partitions[i] for i in rows], touches)


class _Gathering:
    """Collects the touches of one family."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.rows: dict[bytes, int] = {}
        self.partitions: list[int] = []
        self.flat: list[int] = []

    def row(self, key: bytes, partition: int) -> int:
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = len(self.rows)
            self.partitions.append(partition)
        return row

    def touched(self) -> Touched:
        touches = np.array(self.flat, dtype=np.int64).reshape(-1, TOUCH_COLUMNS)
        return Touched(self.family, list(self.rows), self.partitions, touches)


def check_event(event: Event, *, future_ms_max: int) -> None:
    """Refuse what would spoil a record.

    Raises:
        EventRefusedError: a time no record can hold or ahead of its acceptance, or a key that is none.
    """
    if not 0 <= event.time_ms < TIME_MS_END:
        raise _refused("time-out-of-range", "time_ms from 0 to 2^47", str(event.time_ms), "send milliseconds")
    if event.time_ms > event.received_at_ms + future_ms_max:
        wanted = f"time_ms at most {future_ms_max} ms after received_at_ms"
        raise _refused("time-in-future", wanted, str(event.time_ms), "set the collector's clock")
    try:
        if len(event.visitor_key) == 32 and len(bytes.fromhex(event.visitor_key)) == 16:
            return
    except ValueError:
        pass
    raise _refused("bad-visitor-key", "32 hex digits", event.visitor_key[:40], "publish through the collector")


def item_ids_of(placed: Iterable[PlacedEvent]) -> set[str]:
    """Every item that is named in an event that a record keeps items of."""
    return {item.item_id for event, _, _ in placed if event.event in _RING_KIND for item in event.items}


def placements_of(placed: Iterable[PlacedEvent]) -> set[str]:
    """The placements whose records the events change."""
    return {
        event.placement or OTHER_PLACEMENT
        for event, _, _ in placed
        if event.recommendation_id is not None and event.event in layouts.PLACEMENT_METRIC_OF_EVENT
    }


def gather_touches(
    placed: Sequence[PlacedEvent], *, index_of: Mapping[str, int], placement_of: Mapping[str, str]
) -> list[Touched]:
    """What the events change, family by family; families without a touch are left out.

    Args:
        placed: in log order for each partition; checked by `check_event`.
        index_of: item index of every id in `item_ids_of(placed)`; 0: the item is kept nowhere.
        placement_of: under which name each of `placements_of(placed)` is counted.
    """
    visitors, items, placements = _Gathering(VISITORS), _Gathering(ITEMS), _Gathering(PLACEMENTS)
    kinds, tops, identities = _Gathering(EVENT_KINDS), _Gathering(TOP_ITEMS), _Gathering(IDENTITIES)
    for event, partition, position in placed:
        name, time_ms = event.event, event.time_ms
        major, minor_index = position.major, position.minor << 32 | position.index
        row = kinds.row(keys.event_kinds_key(partition), partition)
        # The user's copy of an `identify` is no event of its own, but the record comes to its position.
        kinds.flat += (row, major, minor_index, time_ms, _EVENT_NUMBER[name], int(event.browser_key is None), 0)
        if name == "identify":
            _gather_identity(identities, event, partition, position)
        ring_kind = _RING_KIND.get(name)
        if ring_kind is None:
            continue
        visitor_row = visitors.row(keys.visitor_key(bytes.fromhex(event.visitor_key)), partition)
        if ring_kind == Kind.SEARCH:
            visitors.flat += (visitor_row, major, minor_index, time_ms, ring_kind, 1, 0)
            continue
        metric = layouts.ITEM_METRIC_OF_EVENT.get(name)
        for item in event.items:
            index = index_of[item.item_id]
            if index == 0:
                continue
            visitors.flat += (visitor_row, major, minor_index, time_ms, ring_kind, item.quantity, index)
            if metric is not None:
                row = items.row(keys.item_key(partition, index), partition)
                items.flat += (row, major, minor_index, time_ms, metric, 1, index)
            if metric == 0:
                row = tops.row(keys.top_items_key(partition), partition)
                tops.flat += (row, major, minor_index, time_ms, 0, 1, index)
        if event.recommendation_id is not None and name in layouts.PLACEMENT_METRIC_OF_EVENT:
            placement = placement_of[event.placement or OTHER_PLACEMENT]
            row = placements.row(keys.placement_key(partition, placement), partition)
            metric = layouts.PLACEMENT_METRIC_OF_EVENT[name]
            placements.flat += (row, major, minor_index, time_ms, metric, len(event.items), 0)
    return [family.touched() for family in (visitors, items, placements, kinds, tops, identities) if family.flat]


def _gather_identity(identities: _Gathering, event: Event, partition: int, position: Position) -> None:
    """A browser learns whose it is now, a user which browser is theirs; a user without a browser needs neither."""
    if event.user_key == event.visitor_key and event.browser_key is None:
        return
    if event.browser_key is not None:
        kind, other = BROWSER, bytes.fromhex(event.browser_key)
    else:
        kind, other = IDENTIFIED, bytes.fromhex(event.user_key) if event.user_key else NOBODY
    row = identities.row(keys.identity_key(bytes.fromhex(event.visitor_key)), partition)
    place = (position.major, position.minor << 32 | position.index)
    identities.flat += (row, *place, event.time_ms, kind, *split_key(other))


def _refused(code: str, wanted: str, got: str, next_step: str) -> EventRefusedError:
    return EventRefusedError(code, wanted=wanted, got=got, next_step=next_step)
