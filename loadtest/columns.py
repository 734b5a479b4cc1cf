"""Which column of a file holds what, and the time of each of its rows."""

from collections.abc import Mapping

import polars as pl

from ingest.events import TIMESTAMP_MS_FLOOR
from loadtest.errors import ColumnMissingError, InputFileError
from loadtest.settings import ColumnNames

ROW = "__row"
"""The row's 0-based number in the file, added before anything is left out."""

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("ts_ms", "timestamp_ms", "timestamp", "time"),
    "visitor": ("visitor", "visitor_id", "user_id", "userId"),
    "session": ("session", "session_id", "sessionId", "user_session"),
    "position": ("pos",),
    "item": ("item", "item_id", "itemId", "product_id"),
    "event": ("event", "event_type", "type", "kind"),
    "quantity": ("quantity", "Quantity"),
    "price": ("price", "UnitPrice", "unit_price"),
    "title": ("title", "Description", "name", "item_name"),
    "category": ("category",),
    "brand": ("brand",),
}
"""Tried in this order where no flag names a column; no flag is needed for the data sets the project measures on."""

_MS_FLOOR, _MS_CEILING = 10**11, 10**14
"""Below, these are seconds (up to the year 5138); from the ceiling on, microseconds."""


def find_columns(raw: pl.DataFrame, names: ColumnNames) -> dict[str, str]:
    """What is held by which column.

    Raises:
        ColumnMissingError: a named column is not there, or there is none for the item, or for visitor and session.
    """
    there = [column for column in raw.columns if column != ROW]
    found: dict[str, str] = {}
    for what, usual in USUAL_NAMES.items():
        named: str | None = getattr(names, what)
        if named is not None and named not in there:
            raise ColumnMissingError(what, tried=(named,), found=there, flag=f"--{what}")
        match = named or next((name for name in usual if name in there), None)
        if match is not None:
            found[what] = match
    for what, flag, usual_of in (("item", "--item", "item"), ("visitor or session", "--visitor", "visitor")):
        if not any(part in found for part in what.split(" or ")):
            raise ColumnMissingError(what, tried=USUAL_NAMES[usual_of], found=there, flag=flag)
    return found


def times_of(raw: pl.DataFrame, found: Mapping[str, str], *, time_unit: str, spacing_ms: int) -> tuple[pl.Series, bool]:
    """The time of each row in Unix ms, and whether it is the file's own."""
    if "time" not in found or raw[found["time"]].null_count() == raw.height:
        # Sessions in file order, inside one by position: what a publisher who dropped the times left of them.
        ranks = _file_order(raw, found)
        return ranks * spacing_ms + TIMESTAMP_MS_FLOOR, False
    column = raw[found["time"]]
    if column.dtype == pl.String:
        return _parsed_times(column), True
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("ms")).dt.epoch("ms"), True
    values = column.cast(pl.Float64, strict=False)
    scaled = (values * {"ms": 1.0, "s": 1000.0, "us": 0.001}[time_unit]).round().cast(pl.Int64, strict=False)
    _check_unit(scaled, column.name)
    return scaled, True


def _check_unit(times: pl.Series, name: str) -> None:
    """Refuse times that can only be of another unit, before every row is refused for it."""
    latest = times.max()
    assert latest is None or isinstance(latest, int)
    if latest is not None and not _MS_FLOOR <= latest < _MS_CEILING:
        raise InputFileError(
            wanted=f"times in Unix milliseconds in {name!r}",
            got=f"at most {latest}",
            next_step="if these are seconds, say --time-unit s; microseconds, --time-unit us",
        )


def _parsed_times(column: pl.Series) -> pl.Series:
    parsed = column.str.to_datetime(time_unit="ms", time_zone="UTC", strict=False)
    if parsed.null_count() == column.len():
        raise InputFileError(
            wanted=f"times as Unix milliseconds or as dates and times in {column.name!r}",
            got=repr(column.drop_nulls().head(1).to_list()),
            next_step="convert the column, or name another one with --time COLUMN",
        )
    return parsed.dt.epoch("ms")


def _file_order(raw: pl.DataFrame, found: Mapping[str, str]) -> pl.Series:
    """Each row's 0-based rank when sessions keep their file order and rows inside one go by position."""
    if "session" not in found or "position" not in found:
        return pl.Series("time_ms", range(raw.height), dtype=pl.Int64)
    ordered = (
        raw.select(session=found["session"], position=found["position"])
        .with_row_index("at")
        .with_columns(pl.col("at").min().over("session").alias("first"))
        .sort("first", "position", maintain_order=True)
    )
    return ordered.with_row_index("rank").sort("at")["rank"].cast(pl.Int64).alias("time_ms")
