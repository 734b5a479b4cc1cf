"""Which records an event changes, and how: the one place where the vocabulary of events meets the records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from feature_store import keys, layouts
from feature_store.errors import EventRefusedError
from feature_store.families import CATEGORIES, EVENT_KINDS, IDENTITIES, ITEMS, PLACEMENTS, TOP_ITEMS, VISITORS
from feature_store.identity_record import BROWSER, IDENTIFIED, NOBODY, split_key
from feature_store.kinds import KIND_OF_EVENT, Kind
from feature_store.prices import price_code
from feature_store.touch_gathering import Gathering, PlacedEvent, Touched, places_of
from feature_store.touches import TIME_MS_END
from feature_store.visitor_layout import SHOWN_KIND
from ingest.events import Attribution, Event

OTHER_PLACEMENT: Final = "(other)"
"""Events of a recommendation without a placement, and of placements beyond the limit, are counted here."""

_RING_KIND: Final = {**{name: int(kind) for name, kind in KIND_OF_EVENT.items()}, "view_item_list": SHOWN_KIND}
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
    try:
        if len(event.visitor_key) == 32 and len(bytes.fromhex(event.visitor_key)) == 16:
            return
    except ValueError:
        pass
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
    visitors, items, categories = Gathering(VISITORS, 7), Gathering(ITEMS, 3), Gathering(CATEGORIES, 3)
    placements, kinds, tops = Gathering(PLACEMENTS, 4), Gathering(EVENT_KINDS, 4), Gathering(TOP_ITEMS, 5)
    identities = Gathering(IDENTITIES, 5)
    for place, (event, partition, _) in enumerate(placed):
        name = event.event
        row = kinds.row(partition, partition, keys.event_kinds_key, partition)
        # The user's copy of an `identify` is no event of its own, but the record comes to its position.
        kinds.flat += (row, place, _EVENT_NUMBER[name], int(event.browser_key is None))
        if name == "identify":
            _gather_identity(identities, place, event, partition)
        kind = _RING_KIND.get(name)
        if kind is None:
            continue
        visitor_row = visitors.row(event.visitor_key, partition, keys.visitor_key_of, event.visitor_key)
        if kind == Kind.SEARCH:
            visitors.flat += (visitor_row, place, kind, 1, 0, 0, 0)
            continue
        metric = layouts.ITEM_METRIC_OF_EVENT.get(name)
        for item in event.items:
            number = number_of[item.item_id]
            if number == 0:
                continue
            category = number_of[keys.category_name(item.item_category)] if item.item_category else 0
            visitors.flat += (visitor_row, place, kind, item.quantity, number, category, price_code(item.price))
            if metric is None:
                continue
            row = items.row(partition << 32 | number, partition, keys.item_key, partition, number)
            items.flat += (row, place, metric)
            if category:
                row = categories.row(partition << 32 | category, partition, keys.category_key, partition, category)
                categories.flat += (row, place, metric)
            if metric == 0:
                row = tops.row(partition, partition, keys.top_items_key, partition)
                tops.flat += (row, place, 0, 1, number)
        if event.attribution is not None and name in layouts.PLACEMENT_METRIC_OF_EVENT:
            counted_as = placement_of[_placement_of(event.attribution)]
            _gather_placement(placements, place, event, event.attribution, partition, counted_as)
    places = places_of(placed)
    gathered = (visitors, items, categories, placements, kinds, tops, identities)
    return [family.touched(places) for family in gathered if family.flat]


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
