"""Nothing of an event is lost in Parquet, and a name says what it was made of."""

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.archive_files import ArchiveFile, file_name, hour_folder
from ingest.archive_place import StoredFile
from ingest.archive_rows import ArchivedEvent, events_of, rows_of
from ingest.bus.contract import Position
from ingest.events import EVENT_NAMES, Attribution, Event, Item, decode_event, encode_event

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
maybe = st.none() | texts
floats = st.floats(-1e9, 1e9)
positions = st.builds(Position, st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1), st.integers(0, 10**6))
items = st.builds(
    Item,
    item_id=texts,
    quantity=st.integers(1, 1_000_000),
    price=st.none() | st.floats(0, 1e9),
    index=st.none() | st.integers(0, 10_000),
    item_name=maybe,
    item_brand=maybe,
    item_category=maybe,
    coupon=maybe,
    discount=st.none() | floats,
)
attributions = st.builds(
    Attribution,
    placement=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    served_ms=st.integers(0, 10**14 - 1),
    variant=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    rules=st.integers(0, 2**32 - 1),
    model_ms=st.integers(0, 10**14 - 1),
    foreign=st.lists(st.integers(0, 199), max_size=3).map(tuple),
)
events = st.builds(
    Event,
    message_id=texts,
    event=st.sampled_from(EVENT_NAMES),
    visitor_key=st.binary(min_size=16, max_size=16).map(bytes.hex),
    time_ms=st.integers(0, 10**14 - 1),
    received_at_ms=st.integers(0, 10**14 - 1),
    items=st.lists(items, max_size=3).map(tuple),
    user_key=st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex),
    client_time_ms=st.none() | st.integers(0, 10**14 - 1),
    session_id=maybe,
    page_view_id=maybe,
    value=st.none() | floats,
    currency=maybe,
    cart_id=maybe,
    search_term=maybe,
    recommendation_id=maybe,
    placement=maybe,
    browser_key=st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex),
    consent=st.none() | st.sampled_from(["session", "full"]),
    late=st.booleans(),
    attribution=st.none() | attributions,
    schema_version=st.integers(1, 3),
)
archived = st.builds(ArchivedEvent, st.integers(0, 63), positions, st.integers(0, 10**14 - 1), events)


@given(st.lists(archived, max_size=5))
@settings(max_examples=60, deadline=None)
def test_rows_give_back_every_event_whole(rows: list[ArchivedEvent]) -> None:
    assert list(events_of(rows_of(rows))) == rows


@given(archived)
@settings(max_examples=30, deadline=None)
def test_a_file_of_before_the_category_had_a_column_is_read(row: ArchivedEvent) -> None:
    bare = [msgspec.structs.replace(item, item_category=None) for item in row.event.items]
    old = ArchivedEvent(*msgspec.structs.astuple(row)[:3], msgspec.structs.replace(row.event, items=tuple(bare)))
    rest = msgspec.json.encode({"items": [{"item_category": "mugs"} for _ in bare]}).decode() if bare else None

    rows = rows_of([old]).with_columns(item_category=pl.lit(None, pl.List(pl.String)), rest=pl.lit(rest, pl.String))

    assert [item.item_category for item in next(events_of(rows)).event.items] == ["mugs" for _ in bare]


@given(archived)
@settings(max_examples=30, deadline=None)
def test_an_event_of_the_archive_is_one_the_topic_could_hold(row: ArchivedEvent) -> None:
    (found,) = events_of(rows_of([row]))

    assert decode_event(encode_event(found.event)) == row.event


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 999), positions, st.sampled_from(["", "_recent/"]))
def test_a_name_says_partition_hour_and_where_it_begins(
    accepted_at_ms: int, partition: int, first: Position, prefix: str
) -> None:
    name = file_name(prefix + hour_folder(accepted_at_ms), partition, first)

    file = ArchiveFile.parse(StoredFile(name, 7, 8))

    assert file == ArchiveFile(partition, first, name, 7, 8)
    assert (file.hour_folder, file.recent) == (hour_folder(accepted_at_ms), bool(prefix))


@given(positions, positions)
def test_positions_sort_as_text_as_they_do_as_numbers(one: Position, other: Position) -> None:
    assert (str(one) < str(other)) == (one < other)


def test_every_field_of_the_vocabulary_has_a_place_in_the_archive() -> None:
    row = ArchivedEvent(0, Position(1, 0, 0), 5, Event("m" * 16, "search", "0" * 32, 5, 5))

    assert set(msgspec.structs.asdict(next(events_of(rows_of([row]))).event)) == set(Event.__struct_fields__)
