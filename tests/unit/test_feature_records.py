"""Layouts that lie in stores already, and the refusal of what cannot be read."""

import msgspec
import numpy as np
import pytest

from feature_store import keys, layouts
from feature_store.bucket_record import apply_to_buckets
from feature_store.errors import EventRefusedError, RecordFormatError, StoreMismatchError
from feature_store.event_touches import check_event, gather_touches
from feature_store.record_cache import RecordCache
from feature_store.record_header import LAYOUT_ITEM, LAYOUT_VISITOR, check_record, position_of
from feature_store.touch_gathering import PlacedEvent
from feature_store.touches import AMOUNT, CATEGORY, ITEM, KIND, PRICE
from feature_store.visitor_record import apply_to_visitors, read_visitor
from ingest.bus.contract import Position
from ingest.events import Attribution, Event, Item

NOW_MS = 1_700_000_000_000


AT_HOME = Attribution("home", NOW_MS)


def an_event(**changes: object) -> Event:
    fields: dict[str, object] = {
        "message_id": "message-1",
        "event": "view_item",
        "visitor_key": "0" * 31 + "1",
        "time_ms": NOW_MS,
        "received_at_ms": NOW_MS,
        "items": (Item(item_id="a"),),
    }
    return Event(**{**fields, **changes})  # type: ignore[arg-type]


def touch(major: int = 1, *, time_ms: int = NOW_MS, kind: int = 1, item: int = 0) -> np.ndarray:
    return np.array([[0, major, 2 << 32 | 3, time_ms, kind, 1, item, 0, 0]], np.int64)


def test_names_counted_by_stored_records_do_not_change() -> None:
    # Records on disk count them by place: to add a name, give the record a new layout number.
    assert layouts.ITEM.metrics == ("view", "add", "purchase")
    assert layouts.CATEGORY.metrics == ("view", "add", "purchase")
    assert layouts.PLACEMENT.metrics == ("shown", "clicked", "added", "sold", "revenue")
    assert layouts.EVENT_KINDS.metrics == (
        "view_item",
        "view_item_list",
        "select_item",
        "add_to_cart",
        "remove_from_cart",
        "view_cart",
        "begin_checkout",
        "purchase",
        "refund",
        "search",
        "view_promotion",
        "select_promotion",
        "page_view",
        "identify",
    )


def test_record_carries_the_position_and_log_of_its_last_event() -> None:
    [record] = apply_to_visitors([None], touch(7, item=5), item_hash=np.zeros(8, np.uint32), log_id=2**64 - 1)

    assert record is not None
    assert position_of(record) == Position(7, 2, 3)
    check_record(record, layout=LAYOUT_VISITOR, log_id=2**64 - 1)


def test_record_of_another_log_is_refused_by_name() -> None:
    [record] = apply_to_buckets([None], touch(kind=0), layout=layouts.ITEM, log_id=0xABC)

    assert record is not None
    with pytest.raises(StoreMismatchError, match=r"log 0000000000000def.*log 0000000000000abc.*afterclick rebuild"):
        check_record(record, layout=LAYOUT_ITEM, log_id=0xDEF)


@pytest.mark.parametrize("record", [b"", b"\0" * 24 + b"\x02\x07\0\0", b"\0" * 24 + b"\x01\x02\0\0"])
def test_record_of_another_version_or_layout_is_refused(record: bytes) -> None:
    with pytest.raises(RecordFormatError, match="wanted version 1 and layout 7"):
        read_visitor(record)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"time_ms": -1}, "time-out-of-range"),
        ({"time_ms": 1 << 47}, "time-out-of-range"),
        ({"time_ms": NOW_MS + 61_000}, "time-in-future"),
        ({"visitor_key": "raw-visitor-id"}, "bad-visitor-key"),
    ],
)
def test_event_that_would_spoil_a_record_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(EventRefusedError) as refused:
        check_event(an_event(**changes), future_ms_max=60_000)

    assert refused.value.code == code


def test_event_at_the_limit_is_taken() -> None:
    check_event(an_event(time_ms=NOW_MS + 60_000), future_ms_max=60_000)


def gathered(event: Event) -> dict[str, list[list[int]]]:
    placed = [PlacedEvent(event, 0, Position(1, 0, 0))]
    found = gather_touches(
        placed,
        number_of={"a": 1, "b": 2, "beyond": 0, keys.category_name("lamps"): 3},
        placement_of={"home": "home", "(other)": "(other)"},
    )
    return {touched.family.name: touched.touches.tolist() for touched in found}


def test_a_view_touches_visitor_item_kinds_and_top_items() -> None:
    assert set(gathered(an_event())) == {"visitor", "item", "event_kinds", "top_items"}


def test_an_event_with_two_items_counts_for_both() -> None:
    found = gathered(an_event(event="purchase", items=(Item(item_id="a", quantity=3), Item(item_id="b"))))

    assert [row[AMOUNT] for row in found["visitor"]] == [3, 1]
    assert [row[KIND] for row in found["item"]] == [2, 2]


def test_category_and_price_are_those_that_the_event_names() -> None:
    lamp = Item(item_id="a", item_category="lamps", price=12.5)
    found = gathered(an_event(items=(lamp, Item(item_id="b"))))

    assert [(row[ITEM], row[CATEGORY], row[PRICE] > 0) for row in found["visitor"]] == [(1, 3, True), (2, 0, False)]
    assert [row[KIND] for row in found["category"]] == [0]


def test_items_count_the_visitor_by_their_key() -> None:
    found = gathered(an_event(visitor_key="000000ff" + "0" * 24))

    assert [row[ITEM] for row in found["item"]] == [0xFF]


def test_a_purchase_from_a_suggestion_counts_pieces_and_revenue() -> None:
    items = (Item(item_id="a", quantity=3, price=1.25), Item(item_id="b"))
    found = gathered(an_event(event="purchase", items=items, attribution=AT_HOME))

    assert [(row[KIND], row[AMOUNT]) for row in found["placement"]] == [(layouts.SOLD, 4), (layouts.REVENUE, 375)]


def test_a_search_is_kept_without_an_item() -> None:
    found = gathered(an_event(event="search", items=()))

    assert [row[ITEM] for row in found["visitor"]] == [0]


def test_shown_suggestions_count_for_their_placement() -> None:
    items = (Item(item_id="a"), Item(item_id="b"))
    found = gathered(an_event(event="view_item_list", items=items, attribution=AT_HOME))

    assert [(row[KIND], row[AMOUNT]) for row in found["placement"]] == [(0, 2)]


def test_items_that_were_not_suggested_count_for_no_placement() -> None:
    items = (Item(item_id="a"), Item(item_id="b"))
    shown = msgspec.structs.replace(AT_HOME, foreign=(1,))
    found = gathered(an_event(event="view_item_list", items=items, attribution=shown))

    assert [(row[KIND], row[AMOUNT]) for row in found["placement"]] == [(0, 1)]


def test_each_variant_of_a_placement_has_its_own_name() -> None:
    name = keys.placement_name("home", "hats/B")

    assert name != keys.placement_name("home", "")
    assert keys.split_placement_name(name) == ("home", "hats/B")
    assert keys.split_placement_name("home") == ("home", "")


def test_a_list_that_is_no_suggestion_counts_for_no_placement() -> None:
    assert "placement" not in gathered(an_event(event="view_item_list", placement="home"))


def test_an_item_beyond_the_limit_of_the_store_is_kept_nowhere() -> None:
    assert set(gathered(an_event(items=(Item(item_id="beyond"),)))) == {"event_kinds"}


def test_item_keys_turn_back_into_their_parts() -> None:
    key = keys.item_key(513, 4_000_000_000)

    assert len(key) == 8
    assert keys.split_item_key(key) == (513, 4_000_000_000)


def test_no_two_kinds_of_key_begin_alike() -> None:
    made = [
        keys.visitor_key(bytes(16)),
        keys.identity_key(bytes(16)),
        keys.item_key(0, 0),
        keys.category_key(0, 0),
        keys.custom_key(0, 0),
        keys.placement_key(0, "home"),
        keys.event_kinds_key(0),
        keys.top_items_key(0),
        keys.checkpoint_key(0),
        keys.catch_up_lease_key(0),
        keys.generation_key(0),
    ]

    assert len({key[:2] for key in made}) == len(made)


def test_cache_lets_go_what_was_not_used_lately() -> None:
    cache = RecordCache(records_max=4)
    for key in (b"a", b"b"):
        cache.put(0, key, key)
    cache.trim()
    cache.get(0, b"a")
    cache.put(0, b"c", b"c")
    cache.trim()

    assert [cache.get(0, key) for key in (b"a", b"b", b"c")] == [b"a", None, b"c"]


@pytest.mark.parametrize("records_max", [1, 2, 10, 50])
def test_cache_holds_no_more_than_its_limit_and_a_batch(records_max: int) -> None:
    cache = RecordCache(records_max=records_max)
    for batch in range(40):
        for number in range(5):
            cache.put(batch % 3, b"%d" % (7 * batch + number), b"record")
        cache.trim()

        assert len(cache) <= records_max + 5


def test_cache_forgets_one_partition_alone() -> None:
    cache = RecordCache(records_max=10)
    cache.put(0, b"a", b"0")
    cache.put(1, b"b", b"1")

    cache.drop_partition(0)

    assert (cache.get(0, b"a"), cache.get(1, b"b"), len(cache)) == (None, b"1", 1)
