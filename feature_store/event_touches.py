"""Which records an event changes, and how: the one place where the vocabulary of events meets the records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from feature_store import keys, layouts
from feature_store.errors import EventRefusedError
from feature_store.families import CATEGORIES, EVENT_KINDS, IDENTITIES, ITEMS, PLACEMENTS, TOP_ITEMS, VISITORS
from feature_store.identity_record import BROWSER, IDENTIFIED, NOBODY, split_key
from feature_store.kinds import EVENT_OF_KIND, KIND_OF_EVENT, Kind
from feature_store.prices import price_code
from feature_store.touch_gathering import (
    EventPlaces,
    Gathering,
    Numbers,
    PlacedEvent,
    Touched,
    places_of,
    touched_by_number,
)
from feature_store.touches import (
    AMOUNT,
    CATEGORY,
    ITEM,
    KIND,
    MAJOR,
    MINOR_INDEX,
    PRICE,
    TIME_MS,
    TIME_MS_END,
    TOUCH_COLUMNS,
    Touches,
)
from feature_store.visitor_layout import KIND_SLOTS, SHOWN_KIND
from ingest.events import Attribution, Event

OTHER_PLACEMENT: Final = "(other)"
"""Events of a recommendation without a placement, and of placements beyond the limit, are counted here."""

_RING_KIND: Final = {**{name: int(kind) for name, kind in KIND_OF_EVENT.items()}, "view_item_list": SHOWN_KIND}
_SEARCH: Final = int(Kind.SEARCH)
_METRIC_OF_KIND: Final = np.array(
    [layouts.ITEM_METRIC_OF_EVENT.get(EVENT_OF_KIND.get(kind, ""), -1) for kind in range(KIND_SLOTS)], np.int64
)
_EVENT_NUMBER: Final = {name: number for number, name in enumerate(layouts.EVENT_KINDS.metrics)}


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
    # That they are hexadecimal, every ordered read has seen (`ingest.dedup`).
    if len(event.visitor_key) != 32:
        raise _refused("bad-visitor-key", "32 hex digits", event.visitor_key[:40], "publish through the collector")


def names_of(placed: Iterable[PlacedEvent]) -> set[str]:
    """Every item and every category (as `keys.category_name`) that a record keeps of these events."""
    names: set[str] = set()
    for event, _, _ in placed:
        if event.event in _RING_KIND:
            for item in event.items:
                names.add(item.item_id)
                if item.item_category:
                    names.add(keys.category_name(item.item_category))
    return names


def placements_of(placed: Iterable[PlacedEvent]) -> set[str]:
    """The placements whose records the events change."""
    return {
        _placement_of(event.attribution)
        for event, _, _ in placed
        if event.attribution is not None and event.event in layouts.PLACEMENT_METRIC_OF_EVENT
    }


def gather_touches(
    placed: Sequence[PlacedEvent], *, number_of: Mapping[str, int], placement_of: Mapping[str, str]
) -> list[Touched]:
    """What the events change, family by family; families without a touch are left out.

    An item's category and price are those that the event itself names: a record must be a function of its log, and a
    replay must not depend on what the catalogue says today.

    Args:
        placed: in log order for each partition; checked by `check_event`.
        number_of: number of every name in `names_of(placed)`; 0: it is kept nowhere.
        placement_of: under which name each of `placements_of(placed)` is counted.
    """
    visitors, placements, identities = Gathering(VISITORS, 7), Gathering(PLACEMENTS, 4), Gathering(IDENTITIES, 5)
    category_numbers: dict[str | None, int] = {None: 0, "": 0}
    for place, (event, partition, _) in enumerate(placed):
        name = event.event
        if name == "identify":
            _gather_identity(identities, place, event, partition)
        kind = _RING_KIND.get(name)
        if kind is None:
            continue
        visitor = event.visitor_key
        row = visitors.rows.get(visitor)
        if row is None:
            row = visitors.row(visitor, partition, keys.visitor_key_of, visitor)
        if kind == _SEARCH:
            visitors.flat += (row, place, kind, 1, 0, 0, 0)
            continue
        for item in event.items:
            number = number_of[item.item_id]
            if number == 0:
                continue
            category = category_numbers.get(item.item_category)
            if category is None:
                category = number_of[keys.category_name(item.item_category or "")]
                category_numbers[item.item_category] = category
            visitors.flat += (row, place, kind, item.quantity, number, category, price_code(item.price))
        if event.attribution is not None and name in layouts.PLACEMENT_METRIC_OF_EVENT:
            counted_as = placement_of[_placement_of(event.attribution)]
            _gather_placement(placements, place, event, event.attribution, partition, counted_as)
    places = places_of(placed)
    gathered = [family.touched(places) for family in (visitors, placements, identities) if family.flat]
    if visitors.flat:
        gathered += _goods_touched(gathered[0].touches, visitors.places, places)
    return [*gathered, _kinds_touched(placed, places)] if placed else gathered


def _goods_touched(lines: Touches, event: Numbers, places: EventPlaces) -> list[Touched]:
    """What a visitor's lines count for items, for categories, and, viewed, for the most viewed items.

    Args:
        lines: the visitors' touches.
        event: shape (lines,), the place of each one's event in the batch.
        places: of the events.
    """
    metric = _METRIC_OF_KIND[lines[:, KIND]]
    counts = (metric >= 0) & (lines[:, ITEM] > 0)
    partition, visitor = places.partition[event], places.visitor[event]
    goods = []
    for family, numbers, of_family, key_of in (
        (ITEMS, lines[:, ITEM], counts, keys.item_key),
        (CATEGORIES, lines[:, CATEGORY], counts & (lines[:, CATEGORY] > 0), keys.category_key),
        (TOP_ITEMS, np.zeros_like(event), counts & (metric == layouts.VIEWED), keys.top_items_key_of),
    ):
        if not of_family.any():
            continue
        touches = lines[of_family]
        touches[:, KIND], touches[:, AMOUNT] = metric[of_family], 1
        if family is not TOP_ITEMS:
            touches[:, ITEM] = visitor[of_family]
        touches[:, CATEGORY], touches[:, PRICE] = 0, 0
        goods.append(touched_by_number(family, touches, partition[of_family], numbers[of_family], key_of))
    return goods


def _kinds_touched(placed: Sequence[PlacedEvent], places: EventPlaces) -> Touched:
    """Every event counts for its name.

    The user's copy of an `identify` is no event of its own, but the record comes to its position.
    """
    touches = np.zeros((len(placed), TOUCH_COLUMNS), np.int64)
    touches[:, MAJOR], touches[:, MINOR_INDEX], touches[:, TIME_MS] = places.major, places.minor_index, places.time_ms
    touches[:, KIND] = [_EVENT_NUMBER[event.event] for event, _, _ in placed]
    touches[:, AMOUNT] = [event.browser_key is None for event, _, _ in placed]
    touches[:, ITEM] = places.visitor
    nothing = np.zeros(len(placed), np.int64)
    return touched_by_number(EVENT_KINDS, touches, places.partition, nothing, keys.event_kinds_key_of)


def _placement_of(attribution: Attribution) -> str:
    """The placement and variant whose suggestions the event's items were."""
    return keys.placement_name(attribution.placement or OTHER_PLACEMENT, attribution.variant)


def _gather_placement(
    placements: Gathering, place: int, event: Event, attribution: Attribution, partition: int, counted_as: str
) -> None:
    """What an event of a suggestion counts for the place it was shown at."""
    items = [item for number, item in enumerate(event.items) if number not in attribution.foreign]
    metric = layouts.PLACEMENT_METRIC_OF_EVENT[event.event]
    row = placements.row((partition, counted_as), partition, keys.placement_key, partition, counted_as)
    if metric != layouts.SOLD:
        placements.flat += (row, place, metric, len(items))
        return
    placements.flat += (row, place, metric, sum(item.quantity for item in items))
    revenue = sum(round(100 * item.price) * item.quantity for item in items if item.price is not None)
    if revenue:
        placements.flat += (row, place, layouts.REVENUE, revenue)


def _gather_identity(identities: Gathering, place: int, event: Event, partition: int) -> None:
    """A browser learns whose it is now, a user which browser is theirs; a user without a browser needs neither."""
    if event.user_key == event.visitor_key and event.browser_key is None:
        return
    if event.browser_key is not None:
        kind, other = BROWSER, bytes.fromhex(event.browser_key)
    else:
        kind, other = IDENTIFIED, bytes.fromhex(event.user_key) if event.user_key else NOBODY
    visitor = bytes.fromhex(event.visitor_key)
    row = identities.row(visitor, partition, keys.identity_key, visitor)
    identities.flat += (row, place, kind, *split_key(other))


def _refused(code: str, wanted: str, got: str, next_step: str) -> EventRefusedError:
    return EventRefusedError(code, wanted=wanted, got=got, next_step=next_step)
