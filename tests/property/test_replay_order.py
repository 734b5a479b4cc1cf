"""A log in any order ends in the same features: clicks that come late, skewed or out of order, within the lateness."""

from binascii import crc32
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.bucket_features import CATEGORY_VIEW, EVENT_NAME_VIEW, ITEM_VIEW, PLACEMENT_VIEW
from feature_store.definitions import FeatureView, Value
from feature_store.event_touches import gather_touches, names_of, placements_of
from feature_store.families import CATEGORIES, EVENT_KINDS, ITEMS, PLACEMENTS, VISITORS
from feature_store.keys import category_of, split_item_key
from feature_store.placing import applicable_events
from feature_store.reading import read_view
from feature_store.touch_gathering import PlacedEvent
from feature_store.visitor_features import VISITOR_VIEW
from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated
from ingest.errors import EventRejectedError
from ingest.events import Attribution, Event, Item, SentEvent
from ingest.settings import CollectorSettings
from ingest.validation import Circumstances, accept_event

LATENESS_MS = 3_600_000
START_MS = 1_700_000_000_000
_VIEW_OF = {
    VISITORS: VISITOR_VIEW,
    ITEMS: ITEM_VIEW,
    CATEGORIES: CATEGORY_VIEW,
    PLACEMENTS: PLACEMENT_VIEW,
    EVENT_KINDS: EVENT_NAME_VIEW,
}
_NAMES = ("view_item", "view_item", "select_item", "add_to_cart", "purchase", "search", "view_item_list", "page_view")
_ORDERED_BY_ARRIVAL = ("cart_items", "cart_quantities", "cart_pieces")
"""Carts beyond the ring's hundred events."""


class Records:
    """The records of one partition in memory, brought up to date as the worker does it."""

    def __init__(self) -> None:
        self._names = [""]
        self._number_of = {"": 0}
        self._records: dict[tuple[object, bytes], bytes] = {}
        self._position = 0

    def apply(self, events: Sequence[Event]) -> None:
        placed = []
        for event in events:
            self._position += 1
            placed.append(PlacedEvent(event, 0, Position(self._position, 0, 0)))
        for name in sorted(names_of(placed), key=lambda name: crc32(name.encode(), self._position)):
            if name not in self._number_of:
                self._number_of[name] = len(self._names)
                self._names.append(name)
        hashes = np.array([crc32(name.encode()) for name in self._names], np.uint32)
        placement_of = {name: name for name in placements_of(placed)}
        for touched in gather_touches(placed, number_of=self._number_of, placement_of=placement_of):
            stored = [self._records.get((touched.family, key)) for key in touched.keys]
            written = touched.family.apply(stored, touched.touches, hashes, 1)
            for key, record in zip(touched.keys, written, strict=True):
                if record is not None:
                    self._records[touched.family, key] = record

    def features(self, now_ms: int) -> dict[str, dict[str, Value]]:
        """Every feature of every record, by names."""
        found: dict[str, dict[str, Value]] = defaultdict(dict)
        for (family, key), record in self._records.items():
            view: FeatureView | None = _VIEW_OF.get(family)
            if view is None:
                continue
            name = key.hex()
            if family in {ITEMS, CATEGORIES}:
                name = category_of(self._names[split_item_key(key)[1]])
            values = read_view(view, [record], now_ms, name_of=self._names.__getitem__)
            if view is VISITOR_VIEW and len(values["event_times_ms"]) >= 100:  # type: ignore[arg-type]
                values = {feature: value for feature, value in values.items() if feature not in _ORDERED_BY_ARRIVAL}
            found[f"{view.name}:{name}"] = values
        return found


class Clicks(NamedTuple):
    """Events in the order of their times, and an order in which they come at most the lateness late."""

    in_order: list[Event]
    arrived: list[Event]


@st.composite
def clicks(draw: st.DrawFn) -> Clicks:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from((1, 7, 60, 400)))
    visitors = draw(st.sampled_from((1, 3)))
    times_ms = START_MS + np.sort(rng.integers(0, draw(st.sampled_from((5_000, 86_400_000, 10 * 86_400_000))), count))
    delays_ms = rng.integers(0, LATENESS_MS + 1, count)
    events = [an_event(number, int(time_ms), visitors, rng) for number, time_ms in enumerate(times_ms)]
    return Clicks(events, [events[i] for i in np.argsort(times_ms + delays_ms, kind="stable")])


def an_event(number: int, time_ms: int, visitors: int, rng: np.random.Generator) -> Event:
    name = _NAMES[rng.integers(len(_NAMES))]
    lines = {"search": 0, "page_view": 0, "view_item_list": 5, "purchase": 2}.get(name, 1)
    items = []
    for _ in range(lines):
        item = int(rng.integers(20))
        facts = {"item_category": f"category-{item % 4}", "price": 1.0 + item} if item % 3 else {}
        items.append(Item(item_id=f"item-{item}", quantity=int(rng.integers(1, 4)), **facts))  # type: ignore[arg-type]
    answer = Attribution("home", time_ms, "hats/B" if number % 2 else "") if rng.random() < 0.3 else None
    return Event(
        message_id=f"message-{number}",
        event=name,  # type: ignore[arg-type]
        visitor_key=f"{int(rng.integers(visitors)):032x}",
        time_ms=time_ms,
        received_at_ms=time_ms,
        items=tuple(items),
        attribution=answer if items else None,
    )


@given(clicks(), st.integers(1, 5), st.sampled_from((0, 1_000, 7_200_000)))
@settings(max_examples=40, deadline=None)
def test_a_shuffled_replay_ends_in_the_features_of_the_ordered_one(clicks: Clicks, batches: int, later_ms: int) -> None:
    ordered, shuffled = Records(), Records()

    ordered.apply(clicks.in_order)
    for part in np.array_split(np.arange(len(clicks.arrived)), batches):
        if len(part):
            shuffled.apply([clicks.arrived[i] for i in part])

    now_ms = clicks.in_order[-1].time_ms + later_ms
    assert shuffled.features(now_ms) == ordered.features(now_ms)


@given(st.integers(-600_000, 2 * LATENESS_MS), st.integers(-(10**9), 10**9))
@settings(max_examples=60, deadline=None)
def test_an_event_is_placed_by_corrected_time_whatever_the_senders_clock_says(age_ms: int, skew_ms: int) -> None:
    sent = SentEvent(
        message_id="message-1",
        event="view_item",
        anonymous_id="somebody",
        items=(Item(item_id="a"),),
        timestamp=START_MS + skew_ms - age_ms,
        sent_at=START_MS + skew_ms,
    )
    rules = CollectorSettings(lateness_ms_max=LATENESS_MS, future_ms_max=600_000)
    circumstances = Circumstances(
        received_at_ms=START_MS, privileged=False, sent_at=None, secret=b"secret", settings=rules
    )

    if age_ms > LATENESS_MS:
        with pytest.raises(EventRejectedError):
            accept_event(sent, circumstances)
    else:
        assert accept_event(sent, circumstances).time_ms == START_MS - max(age_ms, 0)


def test_late_events_move_nothing_and_are_counted() -> None:
    entries = [Entry(b"k", b"", START_MS, Position(1, 0, i)) for i in range(3)]
    events = [an_event(i, START_MS, 1, np.random.default_rng(i)) for i in range(3)]
    late = [msgspec.structs.replace(event, late=number < 2) for number, event in enumerate(events)]
    delivery = Delivery("events", 0, 1, START_MS, tuple(entries))

    found = applicable_events(Deduplicated(delivery, entries, late, [], 0), future_ms_max=0)

    assert found.late_count == 2
    assert [placed.event.message_id for placed in found.placed] == ["message-2"]
