"""The archive hour by hour: order of position, also where a clock was set back."""

from pathlib import Path

import polars as pl

from feature_store.training import training_set
from ingest.archive_files import file_name, hour_folder
from ingest.archive_folder import FolderPlace
from ingest.archive_hours import ArchiveHours
from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position
from ingest.events import Event, Item

HOUR_MS = 3_600_000
NINE_MS = 1_784_019_600_000
TEN_MS = NINE_MS + HOUR_MS
VISITOR = "00000001" * 4


def put(place: FolderPlace, accepted_at_ms: int, *numbers: int, partition: int = 0) -> None:
    """A file of views, one at each position."""
    events = [
        ArchivedEvent(
            partition,
            Position(number, 0, 0),
            accepted_at_ms,
            Event(f"message-{number}", "view_item", VISITOR, accepted_at_ms, accepted_at_ms, (Item("mug"),)),
        )
        for number in numbers
    ]
    name = file_name(hour_folder(accepted_at_ms), partition, events[0].position)
    aside = place.aside(name)
    aside.parent.mkdir(parents=True, exist_ok=True)
    rows_of(events).write_parquet(aside)
    assert place.put_new(aside, name)


def test_hours_are_read_in_order_of_position(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, NINE_MS, 1, 2)
    put(place, TEN_MS, 3)
    put(place, TEN_MS, 1, partition=1)

    hours = ArchiveHours(place)

    assert (hours.hours_ms, hours.partitions) == ([NINE_MS, TEN_MS], [0, 1])
    assert hours.rows(NINE_MS, 0, ["message_id"])["message_id"].to_list() == ["message-1", "message-2"]
    assert hours.rows(NINE_MS, 1, ["message_id"]).height == 0


def test_what_lies_later_in_the_log_counts_to_the_later_hour(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, TEN_MS, 1)
    put(place, NINE_MS, 2)

    hours = ArchiveHours(place)

    assert hours.hours_ms == [TEN_MS]
    assert hours.rows(TEN_MS, 0, ["message_id"])["message_id"].to_list() == ["message-1", "message-2"]


def test_a_training_row_knows_nothing_that_came_after_what_it_does_not_know(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, NINE_MS, 1)
    put(place, NINE_MS + 2_000, 2)
    put(place, NINE_MS + 1_000, 3)
    rows = pl.DataFrame({"visitor": VISITOR, "at_ms": [NINE_MS - 1, NINE_MS, NINE_MS + 1_500, NINE_MS + 2_000]})

    made = training_set(rows, ["visitor:view_1h"], archive=tmp_path).collect()

    assert made["visitor:view_1h"].to_list() == [0, 1, 1, 3]


def test_training_rows_of_an_empty_archive_have_defaults(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"visitor": [VISITOR, None], "item": ["mug", "cup"], "at_ms": [NINE_MS, NINE_MS], "label": [1, 0]}
    )

    made = training_set(rows, ["visitor:view_1h", "item:view_24h", "visitor:since_view_ms"], archive=tmp_path).collect()

    assert made.drop("visitor", "item").rows() == [(NINE_MS, 1, 0, 0, None), (NINE_MS, 0, 0, 0, None)]


def test_a_training_set_stays_lazy_and_takes_predicates(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, NINE_MS, 1, 2)
    rows = pl.LazyFrame({"visitor": [VISITOR] * 3, "at_ms": [NINE_MS - 5, NINE_MS + 5, NINE_MS + 9]})

    made = training_set(rows, ["visitor:view_1h"], archive=tmp_path)

    assert made.filter(pl.col("visitor:view_1h") > 0).select("at_ms").collect()["at_ms"].to_list() == [
        NINE_MS + 5,
        NINE_MS + 9,
    ]
    assert made.head(1).collect().height == 1
