from pathlib import Path

import polars as pl
import pytest

from loadtest.errors import ColumnMissingError, InputFileError
from loadtest.files import EventFile, message_id, read_events
from loadtest.settings import ColumnNames

NOON_MS = 1_700_000_000_000


def read(path: Path, columns: ColumnNames | None = None, kinds: dict[str, str] | None = None, **more) -> EventFile:
    asked = {"event_default": "view_item"} | more
    return read_events(path, columns=columns or ColumnNames(), kinds=kinds or {}, **asked)


def write(path: Path, **columns) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_the_same_clicks_are_read_from_parquet_csv_and_jsonl(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"ts_ms": [NOON_MS, NOON_MS + 5], "session": [1, 2], "item": [7, 8], "event": ["view", "cart"]}
    )
    frame.write_parquet(tmp_path / "c.parquet")
    frame.write_csv(tmp_path / "c.csv")
    frame.write_ndjson(tmp_path / "c.jsonl")

    rows = [list(read(tmp_path / f"c.{kind}").rows()) for kind in ("parquet", "csv", "jsonl")]

    assert rows[0] == rows[1] == rows[2]
    assert [(row.visitor, row.item, row.event) for row in rows[0]] == [
        ("session:1", "7", "view_item"),
        ("session:2", "8", "add_to_cart"),
    ]


def test_usual_kinds_become_event_names(tmp_path: Path) -> None:
    kinds = ["view", "clicks", "cart", "carts", "purchase", "orders", "transaction", "cancel", "Product Viewed"]
    file = write(tmp_path / "c.parquet", session=[1] * 9, item=[1] * 9, event=kinds)

    events = [row.event for row in read(file).rows()]

    assert events == ["view_item"] * 2 + ["add_to_cart"] * 2 + ["purchase"] * 3 + ["refund", "view_item"]


def test_own_kinds_are_mapped_and_skipped_by_flag(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", session=[1, 1, 1], item=[1, 2, 3], event=["klick", "ping", "korb"])

    read_file = read(file, kinds={"klick": "view_item", "ping": "skip"})

    assert [row.event for row in read_file.rows()] == ["view_item"]
    assert read_file.unusable == {"skipped-kind: ping": 1, "unknown-kind: korb": 1}


def test_an_unknown_event_name_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", session=[1], item=[1], event=["klick"])

    with pytest.raises(InputFileError, match=r"wanted one of view_item,.*got klick=look"):
        read(file, kinds={"klick": "look"})


def test_a_sale_of_a_negative_quantity_is_a_refund_of_so_many(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.parquet",
        visitor=[1, 1],
        item=["a", "a"],
        event=["transaction"] * 2,
        Quantity=[6, -2],
        UnitPrice=[2.5, 2.5],
    )

    rows = list(read(file).rows())

    assert [(row.event, row.quantity, row.price) for row in rows] == [("purchase", 6, 2.5), ("refund", 2, 2.5)]


def test_unusable_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.parquet",
        ts_ms=[NOON_MS] * 7 + [None],
        visitor=[1, None, 3, 4, 5, 6, 7, 8],
        session=["s", None, "s", "s", "s", "s", "s", "s"],
        item=["a", "a", None, "a" * 65, "a", "a", "a", "a"],
        quantity=[1, 1, 1, 1, 0, 10**7, 1, 1],
        price=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0],
    )

    read_file = read(file)

    assert [row.visitor for row in read_file.rows()] == ["1"]
    assert read_file.unusable == {
        "no-visitor-and-no-session": 1,
        "no-item": 1,
        "item-id-too-long": 1,
        "quantity-zero": 1,
        "quantity-too-large": 1,
        "price-negative": 1,
        "no-time": 1,
    }


def test_a_row_without_a_customer_is_a_visitor_for_its_session(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", visitor=[17850, None], session=["i1", "i2"], item=["a", "b"])

    assert [row.visitor for row in read(file).rows()] == ["17850", "session:i2"]


def test_a_missing_column_is_named_with_those_found_and_the_flag(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", customer=[1], sku=["a"])

    with pytest.raises(ColumnMissingError, match=r"item.*customer, sku.*--item COLUMN"):
        read(file)
    with pytest.raises(ColumnMissingError, match=r"visitor or session.*customer, sku.*--visitor COLUMN"):
        read(file, ColumnNames(item="sku"))
    with pytest.raises(ColumnMissingError, match=r"nope.*customer, sku.*--price COLUMN"):
        read(file, ColumnNames(item="sku", visitor="customer", price="nope"))


def test_seconds_for_milliseconds_are_refused_with_the_flag(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", ts_ms=[NOON_MS // 1000], session=[1], item=["a"])

    with pytest.raises(InputFileError, match="--time-unit s"):
        read(file)
    assert next(read(file, time_unit="s").rows()).time_ms == NOON_MS


def test_dates_and_iso_texts_are_times_too(tmp_path: Path) -> None:
    texts = write(tmp_path / "t.parquet", time=["2023-11-14T22:13:20Z"], session=[1], item=["a"])
    dates = write(
        tmp_path / "d.parquet",
        time=pl.Series(["2023-11-14T22:13:20"]).str.to_datetime(time_unit="us"),
        session=[1],
        item=["a"],
    )

    assert next(read(texts).rows()).time_ms == NOON_MS
    assert next(read(dates).rows()).time_ms == NOON_MS


def test_without_times_sessions_keep_file_order_and_rows_go_by_position(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.parquet",
        ts_ms=pl.Series([None] * 4, dtype=pl.Int64),
        session=["b", "a", "b", "a"],
        pos=[1, 0, 0, 1],
        item=["b1", "a0", "b0", "a1"],
    )

    read_file = read(file, spacing_ms=500)

    rows = list(read_file.rows())
    assert [row.item for row in rows] == ["b0", "b1", "a0", "a1"]
    assert [row.time_ms - rows[0].time_ms for row in rows] == [0, 500, 1000, 1500]
    assert not read_file.timed


def test_ids_come_from_the_bytes_of_the_file_and_the_number_of_the_row(tmp_path: Path) -> None:
    columns = {"session": [1, 1], "item": ["a", "b"], "split": ["train", "test"]}
    first, copy = write(tmp_path / "c.parquet", **columns), write(tmp_path / "d.parquet", **columns)
    other = write(tmp_path / "e.parquet", **(columns | {"item": ["a", "c"]}))

    assert read(first).digest == read(copy).digest != read(other).digest
    assert [row.row for row in read(first, split="test").rows()] == [1]
    assert 8 <= len(message_id(read(first).digest, 999_999_999)) <= 64


def test_products_have_the_latest_title_and_the_latest_price_above_zero(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.parquet",
        ts_ms=[NOON_MS + 2, NOON_MS, NOON_MS + 1],
        session=[1, 1, 1],
        item=["a", "a", "b"],
        Description=[None, "Lamp", None],
        UnitPrice=[0.0, 2.0, 3.0],
    )

    products = {product.item_id: product for product in read(file).products}

    assert (products["a"].title, products["a"].price) == ("Lamp", 2.0)
    assert (products["b"].title, products["b"].price) == ("b", 3.0)


def test_a_row_knows_what_its_visitor_did_before(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", session=[1, 2, 1, 1], item=["a", "a", "b", "a"])

    rows = list(read(file).rows())

    assert [(row.visitor_events_before, row.item_before, row.item_age_rows) for row in rows] == [
        (0, None, 0),
        (0, None, 1),
        (1, "a", 0),
        (2, "b", 3),
    ]


@pytest.mark.parametrize("name", ["missing.parquet", "broken.parquet", "clicks.xlsx"])
def test_an_unreadable_file_says_what_was_wanted(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "clicks.xlsx").write_bytes(b"")

    with pytest.raises(InputFileError, match=r"wanted .*; got .*; "):
        read(tmp_path / name)
