"""Archived columns come to the same touches as the events they were made of."""

from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store import keys
from feature_store.event_touches import gather_touches, names_of, placements_of
from feature_store.families import CATEGORIES, EVENT_KINDS, ITEMS, PLACEMENTS, VISITORS
from feature_store.touch_columns import Batch, Names, Touching, touch_columns
from feature_store.touch_gathering import PlacedEvent, Touched
from feature_store.touches import ROW
from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position
from ingest.events import EVENT_NAMES, Attribution, Event, Item

FAMILIES = (VISITORS, ITEMS, CATEGORIES, PLACEMENTS, EVENT_KINDS)
FUTURE_MS = 1_000

items = st.builds(
    Item,
    item_id=st.sampled_from(["a", "b", "c", "d"]),
    quantity=st.integers(1, 300),
    price=st.none() | st.sampled_from([0.0, 0.005, 1.0, 1.25, 19.99]) | st.floats(0, 1e6),
    item_category=st.none() | st.sampled_from(["", "mugs", "a"]),
)
attributions = st.builds(
    Attribution,
    placement=st.sampled_from(["", "home", "cart"]),
    served_ms=st.just(4_000),
    variant=st.sampled_from(["", "order/b"]),
    foreign=st.lists(st.integers(0, 4), max_size=2).map(tuple),
)
events = st.builds(
    Event,
    message_id=st.just("m" * 16),
    event=st.sampled_from(EVENT_NAMES),
    visitor_key=st.integers(0, 3).map(lambda number: f"{number:08x}" * 4),
    time_ms=st.integers(5_000, 5_010),
    received_at_ms=st.integers(4_500, 5_000),
    items=st.lists(items, max_size=4).map(tuple),
    attribution=st.none() | attributions,
    browser_key=st.none() | st.just("0" * 32),
    late=st.booleans(),
)
batches = st.lists(events, max_size=12)


@given(batches)
@settings(max_examples=200, deadline=None)
def test_columns_and_events_come_to_the_same_touches(batch: list[Event]) -> None:
    placed = [PlacedEvent(event, 3, Position(7, n // 4, n % 4)) for n, event in enumerate(batch)]
    live = [p for p in placed if not p.event.late and p.event.time_ms <= p.event.received_at_ms + FUTURE_MS]
    names = Names()
    number_of = {name: names.number_of(name) for name in sorted(names_of(live))}
    one_by_one = gather_touches(live, number_of=number_of, placement_of={name: name for name in placements_of(live)})

    rows = rows_of([ArchivedEvent(p.partition, p.position, 5_000, p.event) for p in placed])
    by_column = touch_columns(rows, names, FAMILIES, future_ms_max=FUTURE_MS)

    wanted = {touched.family.name: _of_keys(touched) for touched in one_by_one if touched.family in FAMILIES}
    assert {t.family.name: _of_entities(t, by_column) for t in by_column.families} == wanted


def _of_keys(touched: Touched) -> dict[bytes, list[Any]]:
    found: dict[bytes, list[Any]] = defaultdict(list)
    for touch in touched.touches:
        found[touched.keys[touch[ROW]]].append(np.delete(touch, ROW).tolist())
    return found


def _of_entities(touching: Touching, batch: Batch) -> dict[bytes, list[Any]]:
    found: dict[bytes, list[Any]] = defaultdict(list)
    for entity, touch in zip(touching.entity.tolist(), touching.touches, strict=True):
        found[_key(touching.family.name, entity, batch)].append(np.delete(touch, ROW).tolist())
    return found


def _key(family: str, entity: int, batch: Batch) -> bytes:
    match family:
        case "visitor":
            return keys.visitor_key_of(batch.visitor_keys[entity])
        case "item":
            return keys.item_key(3, entity)
        case "category":
            return keys.category_key(3, entity)
        case "placement":
            return keys.placement_key(3, batch.placements[entity])
    return keys.event_kinds_key(3)
