"""What suggestions earned, from the archive: shown, clicked, added, sold and revenue, by what they came from.

A click on a suggestion takes what its visitor does with that item in the seven days after it; the last click before
the act counts. Everything rests on the signed `recommendation_id` of the click, as the collector read it.
"""

import polars as pl

from recommender.earned import By, Earned

SALE_MS = 7 * 86_400_000
ROWS_MAX = 10_000

_PERSON = ["visitor_key", "item_id"]
_CLICK = ["placement", "variant", "rules", "model_ms"]


def earned(events: pl.LazyFrame, *, by: By, from_ms: int, until_ms: int) -> list[Earned]:
    """Groups, the one that earned most first; at most `ROWS_MAX`.

    Args:
        events: as `ingest.archive_reader.scan_archive`.
        from_ms, until_ms: of the acts, Unix milliseconds by corrected event time; clicks of the seven days before count
            for the acts in between.
    """
    lines = _lines(events, from_ms=from_ms - SALE_MS, until_ms=until_ms)
    suggested = lines.filter(pl.col("served_ms").is_not_null() & ~pl.col("is_foreign"))
    shown = _once(suggested, "view_item_list")
    clicks = _once(suggested, "select_item")
    added = _after_click(lines, clicks, "add_to_cart")
    sold = _after_click(lines, clicks, "purchase")
    parts = [
        shown.with_columns(_counting("shown")),
        clicks.with_columns(_counting("clicked")),
        added.with_columns(_counting("added")),
        sold.with_columns(_counting("sold")),
        _given_back(lines, sold).with_columns(_counting("sold", sign=-1)),
    ]
    figures = ["shown", "clicked", "added", "sold", "revenue"]
    table = (
        pl.concat([part.select("time_ms", *_CLICK, *figures) for part in parts])
        .filter(pl.col("time_ms").is_between(from_ms, until_ms, closed="left"))
        .group_by(_key(by).alias("key"))
        .agg(pl.col(name).sum() for name in figures)
        .sort(["revenue", "clicked", "key"], descending=[True, True, False])
        .head(ROWS_MAX)
        .collect()
    )
    return [Earned(**row) for row in table.iter_rows(named=True)]


def _lines(events: pl.LazyFrame, *, from_ms: int, until_ms: int) -> pl.LazyFrame:
    """One row an event's item."""
    attribution = pl.col("attribution").struct
    kinds = ["view_item_list", "select_item", "add_to_cart", "purchase", "refund"]
    return (
        events.filter(
            pl.col("event").is_in(kinds)
            & pl.col("time_ms").is_between(from_ms, until_ms, closed="left")
            & (pl.col("item_id").list.len() > 0)
        )
        .select(
            "event",
            "visitor_key",
            "recommendation_id",
            "message_id",
            "time_ms",
            "item_id",
            "quantity",
            "price",
            *(attribution.field(name).alias(name) for name in ("placement", "variant", "rules", "model_ms")),
            attribution.field("served_ms").alias("served_ms"),
            attribution.field("foreign").alias("foreign"),
            pl.int_ranges(pl.col("item_id").list.len()).alias("place"),
        )
        .explode(["item_id", "quantity", "price", "place"])
        .with_columns(
            pl.col("place").cast(pl.Int32).is_in(pl.col("foreign").fill_null([])).fill_null(False).alias("is_foreign")
        )
        .drop("foreign")
    )


def _once(suggested: pl.LazyFrame, event: str) -> pl.LazyFrame:
    """Each item of an answer once a visitor, at the first time; sorted by time."""
    mine = suggested.filter(pl.col("event") == event).sort("time_ms")
    return mine.unique([*_PERSON, "recommendation_id"], keep="first", maintain_order=True)


def _after_click(lines: pl.LazyFrame, clicks: pl.LazyFrame, event: str) -> pl.LazyFrame:
    """The acts of a kind that a click takes, with what the click came from; sorted by time."""
    acts = lines.filter(pl.col("event") == event).drop(*_CLICK).sort("time_ms")
    taken = acts.join_asof(
        clicks.select("time_ms", *_PERSON, *_CLICK),
        on="time_ms",
        by=_PERSON,
        strategy="backward",
        tolerance=SALE_MS,
        check_sortedness=False,
    )
    return taken.filter(pl.col("placement").is_not_null())


def _given_back(lines: pl.LazyFrame, sold: pl.LazyFrame) -> pl.LazyFrame:
    """Refunds of what a click had taken, whenever they come."""
    refunds = lines.filter(pl.col("event") == "refund").drop(*_CLICK).sort("time_ms")
    taken = refunds.join_asof(
        sold.select("time_ms", *_PERSON, *_CLICK), on="time_ms", by=_PERSON, strategy="backward", check_sortedness=False
    )
    return taken.filter(pl.col("placement").is_not_null())


def _counting(figure: str, *, sign: int = 1) -> list[pl.Expr]:
    """What a row counts for; for `sold` its quantity and its revenue too."""
    pieces = pl.col("quantity").cast(pl.Int64) * sign if figure == "sold" else pl.lit(1, pl.Int64)
    amount = (pl.col("price") * pl.col("quantity") * sign).fill_null(0.0) if figure == "sold" else pl.lit(0.0)
    counted = [pieces if name == figure else pl.lit(0, pl.Int64) for name in ("shown", "clicked", "added", "sold")]
    names = ("shown", "clicked", "added", "sold")
    return [*(expression.alias(name) for expression, name in zip(counted, names, strict=True)), amount.alias("revenue")]


def _key(by: By) -> pl.Expr:
    if by == "model":
        return pl.col("model_ms").cast(pl.String)
    if by == "hour":
        return pl.from_epoch("time_ms", time_unit="ms").dt.strftime("%Y-%m-%dT%H:00Z")
    return pl.col(by).cast(pl.String)
