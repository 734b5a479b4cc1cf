"""Read a file of real clicks (Parquet, CSV, JSONL) as rows ready to be sent, and count what cannot be."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from ingest.events import NEEDS_ITEMS, TIMESTAMP_MS_FLOOR
from loadtest.columns import ROW, find_columns, times_of
from loadtest.errors import ColumnMissingError, InputFileError
from loadtest.kinds import SKIP, kind_table, named_events
from loadtest.settings import ColumnNames

QUANTITY_MAX = 1_000_000
_SLICE_ROWS = 8_192


class Row(NamedTuple):
    """One usable row.

    `row` is its 0-based number in the file; `time_ms` the file's own, or synthetic; `item` is None where the event
    needs none; `item_before` is the item of the same visitor's event before this one; `item_age_rows` how
    many rows ago anybody's first event with that item was.
    """

    row: int
    time_ms: int
    visitor: str
    session: str | None
    item: str | None
    event: str
    quantity: int
    price: float | None
    visitor_events_before: int
    item_before: str | None
    item_age_rows: int


class Product(NamedTuple):
    """What the file says of one item: its latest title, price, category and brand."""

    item_id: str
    title: str
    price: float | None
    category: str | None
    brand: str | None


class EventFile(msgspec.Struct, frozen=True):
    """A file that was read.

    Attributes:
        digest: 16 hex digits of BLAKE2b over the file's bytes; with the row number it makes the `message_id`.
        rows_total: rows in the file (after `split` and `limit`).
        usable: the canonical frame, ordered by time, ties in file order.
        unusable: reason to count of rows.
        timed: whether times are the file's own.
        products: what the file says of its items.
    """

    digest: str
    rows_total: int
    usable: pl.DataFrame
    unusable: Mapping[str, int]
    timed: bool
    products: tuple[Product, ...]

    def rows(self) -> Iterator[Row]:
        """The usable rows in order of time; made in slices, so that a large file costs little beside its frame."""
        for part in self.usable.iter_slices(_SLICE_ROWS):
            yield from map(Row._make, part.rows())


def message_id(digest: str, row: int) -> str:
    """The same for the same row of the same file, whatever the speed or times: a second run changes nothing."""
    return f"{digest}-{row}"


def read_events(
    path: Path,
    *,
    columns: ColumnNames,
    kinds: Mapping[str, str],
    event_default: str,
    split: str | None = None,
    limit: int | None = None,
    time_unit: str = "ms",
    spacing_ms: int = 1000,
    times_kept: bool = False,
) -> EventFile:
    """Read `path`, map its columns and kinds, count what cannot be used.

    `times_kept`: the file's own times will be sent, so rows from before the year 2000 cannot be used.

    Raises:
        InputFileError: unreadable, a wanted column is missing, or times that cannot be milliseconds.
    """
    raw = _read_frame(path)
    raw = _only_split(raw, split)
    if limit is not None:
        raw = raw.head(limit)
    found = find_columns(raw, columns)
    times, timed = times_of(raw, found, time_unit=time_unit, spacing_ms=spacing_ms)
    frame = _canonical(raw, found, times, event_default=event_default)
    frame = named_events(frame, kind_table(frame, kinds))
    usable, unusable = _part(frame, times_kept=times_kept)
    if usable.height == 0 and frame.height > 0:
        raise InputFileError(
            wanted="at least one row that can be sent",
            got=f"{frame.height} rows, none usable: {_counts_text(unusable)}",
            next_step="map the file's kinds with --kind KIND=EVENT, its columns with --item COLUMN and the like",
        )
    usable = usable.sort("time_ms", maintain_order=True).with_columns(
        pl.int_range(pl.len()).over("visitor").alias("visitor_events_before"),
        pl.col("item").shift(1).over("visitor").alias("item_before"),
        pl.int_range(pl.len()).alias("item_age_rows"),
    )
    usable = usable.with_columns(pl.col("item_age_rows") - pl.col("item_age_rows").first().over("item"))
    return EventFile(
        digest=file_digest(path),
        rows_total=frame.height,
        usable=usable.select(Row._fields),
        unusable=unusable,
        timed=timed,
        products=_products(usable),
    )


def file_digest(path: Path) -> str:
    """16 hex digits of BLAKE2b over the file's bytes, read a megabyte at a time."""
    state = blake2b(digest_size=8)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def _read_frame(path: Path) -> pl.DataFrame:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": lambda p: pl.read_parquet(p),
        ".csv": lambda p: pl.read_csv(p, infer_schema_length=10_000),
        ".tsv": lambda p: pl.read_csv(p, separator="\t", infer_schema_length=10_000),
        ".jsonl": lambda p: pl.read_ndjson(p, infer_schema_length=10_000),
        ".ndjson": lambda p: pl.read_ndjson(p, infer_schema_length=10_000),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputFileError(
            wanted=f"a file that ends in {', '.join(readers)}",
            got=f"{path.name!r}",
            next_step="convert it, or rename it if it is one of these",
        )
    try:
        return reader(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputFileError(
            wanted=f"a readable {path.suffix[1:]} file",
            got=f"{path}: {reason}",
            next_step="check the path and that the file is whole",
        ) from error


def _only_split(raw: pl.DataFrame, split: str | None) -> pl.DataFrame:
    raw = raw.with_row_index(ROW)
    if split is None:
        return raw
    if "split" not in raw.columns:
        raise ColumnMissingError("split", tried=("split",), found=raw.columns[1:], flag="without --split, or add")
    return raw.filter(pl.col("split").cast(pl.String).is_in(split.split("+")))


def _canonical(raw: pl.DataFrame, found: Mapping[str, str], times: pl.Series, *, event_default: str) -> pl.DataFrame:
    """The columns of `Row` and `Product`, still with unusable rows in it."""

    def text(what: str) -> pl.Expr:
        column = pl.col(found[what]).cast(pl.String) if what in found else pl.lit(None, pl.String)
        return pl.when(column.str.len_chars() > 0).then(column).otherwise(None).alias(what)

    def number(what: str) -> pl.Expr:
        column = pl.col(found[what]) if what in found else pl.lit(None)
        return column.cast(pl.Float64, strict=False).alias(what)

    return raw.select(
        pl.col(ROW).cast(pl.Int64).alias("row"),
        times.alias("time_ms"),
        # A row without a customer is a visitor for the length of its session.
        pl.coalesce(text("visitor"), pl.concat_str(pl.lit("session:"), text("session"))).alias("visitor"),
        text("session"),
        text("item").str.strip_chars(),
        (text("event") if "event" in found else pl.lit(event_default).alias("event")).alias("kind"),
        number("quantity"),
        number("price"),
        text("title"),
        text("category"),
        text("brand"),
    )


def _part(frame: pl.DataFrame, *, times_kept: bool) -> tuple[pl.DataFrame, dict[str, int]]:
    """The usable rows, and the others counted by the first reason that holds."""
    size = pl.col("quantity").abs()
    reason = (
        pl.when(pl.col("event") == SKIP)
        .then(pl.lit("skipped-kind: ") + pl.col("kind"))
        .when(pl.col("event").is_null())
        .then(pl.lit("unknown-kind: ") + pl.col("kind").fill_null("(none)"))
        .when(pl.col("visitor").is_null())
        .then(pl.lit("no-visitor-and-no-session"))
        .when(pl.col("item").is_null() & pl.col("event").is_in(sorted(NEEDS_ITEMS)))
        .then(pl.lit("no-item"))
        .when(pl.col("item").str.len_chars() > 64)
        .then(pl.lit("item-id-too-long"))
        .when(pl.col("visitor").str.len_chars() > 128)
        .then(pl.lit("visitor-id-too-long"))
        .when(pl.col("time_ms").is_null())
        .then(pl.lit("no-time"))
        .when((pl.col("time_ms") < TIMESTAMP_MS_FLOOR) & times_kept)
        .then(pl.lit("time-before-2000"))
        .when(size == 0)
        .then(pl.lit("quantity-zero"))
        .when(size > QUANTITY_MAX)
        .then(pl.lit("quantity-too-large"))
        .when(pl.col("price") < 0)
        .then(pl.lit("price-negative"))
        .otherwise(None)
    )
    marked = frame.with_columns(reason.alias("reason"))
    counts = marked.filter(pl.col("reason").is_not_null()).group_by("reason").len().sort("reason")
    usable = marked.filter(pl.col("reason").is_null()).with_columns(
        # Weighed goods come in fractions; the vocabulary counts pieces.
        size.fill_null(1).ceil().cast(pl.Int64).alias("quantity")
    )
    return usable, dict(counts.iter_rows())


def _products(usable: pl.DataFrame) -> tuple[Product, ...]:
    """Per item the latest title, category and brand, and the latest price above zero."""
    latest = (
        usable.filter(pl.col("item").is_not_null())
        .group_by("item", maintain_order=True)
        .agg(
            pl.col("title").drop_nulls().last(),
            pl.col("price").filter(pl.col("price") > 0).last(),
            pl.col("category").drop_nulls().last(),
            pl.col("brand").drop_nulls().last(),
        )
    )
    return tuple(
        Product(item, (title or item)[:512], price, category and category[:256], brand and brand[:128])
        for item, title, price, category, brand in latest.iter_rows()
    )


def _counts_text(counts: Mapping[str, int]) -> str:
    most: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda pair: -pair[1])[:8]
    return "; ".join(f"{count} x {reason}" for reason, count in most)
