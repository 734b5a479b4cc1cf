"""The project's data sets need no flag; skipped where they are not, but for the CI, which must have them."""

import os
from pathlib import Path

import msgspec
import pytest

from ingest.events import SentEvent
from loadtest.files import EventFile, read_events
from loadtest.replay import wire_event
from loadtest.settings import ColumnNames

DATASETS = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))

pytestmark = pytest.mark.datasets


def read(name: str) -> EventFile:
    path = DATASETS / name
    if not path.exists():
        assert "datasets" not in os.environ.get("AFTERCLICK_REQUIRE", ""), f"{name} is wanted in {DATASETS.resolve()}"
        pytest.skip(f"{name} is not in AFTERCLICK_DATASETS ({DATASETS})")
    return read_events(path, columns=ColumnNames(), kinds={}, event_default="view_item")


@pytest.mark.parametrize(
    ("name", "rows", "unusable", "timed"),
    [
        ("uci_online_retail/events_to_2011-09-30.parquet", 370_931, {"price-negative": 2}, True),
        ("serenade_example/events.parquet", 116_285, {}, True),
        ("yoochoose_100k/events.parquet", 83_846, {}, True),
        ("rees46_sample/events.parquet", 17_435, {}, True),
        ("otto_sample/events.parquet", 862, {}, True),
        ("diginetica/sessions_train.parquet", 906_140, {}, False),
    ],
)
def test_a_real_file_is_read_whole(name: str, rows: int, unusable: dict[str, int], timed: bool) -> None:
    file = read(name)

    assert (file.rows_total, dict(file.unusable), file.timed) == (rows, unusable, timed)
    assert file.usable.height == rows - sum(unusable.values())


def test_cancellations_and_write_offs_of_a_real_shop_are_refunds() -> None:
    file = read("uci_online_retail/events_to_2011-09-30.parquet")

    counts = dict(file.usable.group_by("event").len().iter_rows())

    assert counts == {"purchase": 363_254, "refund": 7_675}


def test_every_kind_of_row_of_a_real_shop_is_a_valid_event() -> None:
    file = read("uci_online_retail/events_to_2011-09-30.parquet")

    for at, row in enumerate(file.rows()):
        if at % 37 == 0:
            sent = wire_event(row, digest=file.digest, stamp=lambda time_ms: time_ms, currency="GBP")
            assert msgspec.convert(sent, SentEvent).event in {"purchase", "refund"}
