"""Records of the first release, written down as bytes, are read with what they hold."""

import numpy as np
import pytest

from feature_store import layouts
from feature_store.bucket_record import apply_to_buckets, count_since, read_buckets
from feature_store.errors import RecordFormatError
from feature_store.migration import upgraded
from feature_store.record_header import GUARD_BYTES, LAYOUT_ITEM, LAYOUT_VISITOR, check_record
from feature_store.touches import TOUCH_COLUMNS
from feature_store.visitor_record import apply_to_visitors, read_visitor

NOW_MS = 1_700_000_000_000
GUARD = (7).to_bytes(8, "big") + (1).to_bytes(8, "big") + (0xABC).to_bytes(8, "big")


def first_visitor(*, overflowed: bool = False) -> bytes:
    """Two views and one list of two items, as layout 1 had them."""
    events = b"".join(
        (NOW_MS + after_ms).to_bytes(6, "little") + bytes([1, 2]) + item.to_bytes(4, "little")
        for after_ms, item in ((0, 70_000), (5, 3))
    )
    shown = (NOW_MS + 9).to_bytes(6, "little") + bytes([1]) + (2).to_bytes(4, "little") + bytes([2])
    shown += (8).to_bytes(4, "little") + (9).to_bytes(4, "little")
    return GUARD + bytes([1, 1, 2 | (0x80 if overflowed else 0), 2]) + events + shown


def touch(major: int, **columns: int) -> np.ndarray:
    row = np.zeros((1, TOUCH_COLUMNS), np.int64)
    row[0, 1:6] = major, 1, NOW_MS + 20, columns.get("kind", 1), 1
    row[0, 6] = columns.get("item", 4)
    return row


def test_a_visitor_of_the_first_release_keeps_events_and_impressions() -> None:
    visitor = read_visitor(first_visitor())

    assert visitor.time_ms.tolist() == [NOW_MS, NOW_MS + 5]
    assert visitor.item_index.tolist() == [70_000, 3]
    assert visitor.quantity.tolist() == [2, 2]
    assert visitor.shown_item_index.tolist() == [8, 9]
    assert visitor.shown_time_ms.tolist() == [NOW_MS + 7, NOW_MS + 7]
    assert not visitor.overflowed


def test_one_that_had_let_events_go_still_says_so() -> None:
    assert read_visitor(first_visitor(overflowed=True)).overflowed


def test_an_upgraded_record_keeps_its_place_in_the_log_and_takes_further_events() -> None:
    record = upgraded(first_visitor())
    check_record(record, layout=LAYOUT_VISITOR, log_id=0xABC)

    [written] = apply_to_visitors([record], touch(8), item_hash=np.zeros(70_001, np.uint32), log_id=0xABC)
    [repeated] = apply_to_visitors([record], touch(7), item_hash=np.zeros(70_001, np.uint32), log_id=0xABC)

    assert record[:GUARD_BYTES] == GUARD
    assert read_visitor(written).item_index.tolist() == [70_000, 3, 4]
    assert repeated is None


@pytest.mark.parametrize("layout", [layouts.ITEM, layouts.PLACEMENT])
def test_counts_of_the_first_release_are_taken_over(layout: layouts.BucketLayout) -> None:
    assert layout.predecessor is not None
    [old] = apply_to_buckets([None], touch(1), layout=layout.predecessor, log_id=0xABC)
    assert old is not None

    record = upgraded(old)
    [further] = apply_to_buckets([record], touch(2), layout=layout, log_id=0xABC)

    for read, expected in ((read_buckets(old, layout), 1), (read_buckets(further, layout), 2)):
        counts = count_since(read, layout, layouts.BY_HOUR, start_ms=NOW_MS - 1_000, end_ms=NOW_MS + 1_000)
        assert counts[1] == expected


def test_a_record_of_a_newer_release_is_refused_by_name() -> None:
    newer = GUARD + bytes([1, 200, 0, 0])

    with pytest.raises(RecordFormatError, match=r"wanted version 1 and layout 8; got bytes 01 c8"):
        check_record(upgraded(newer), layout=LAYOUT_ITEM)
