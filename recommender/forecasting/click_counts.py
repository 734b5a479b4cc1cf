"""How often each item was shown and clicked at each place of a placement, from the archive."""

from typing import NamedTuple

import msgspec
import polars as pl

PLACES_MAX = 50
"""Places further down are counted as none: hardly anybody sees them."""


class ClickCounts(msgspec.Struct, frozen=True):
    """One cell an item and place; the lists run side by side.

    Attributes:
        item_ids, places: which cell; places begin at 0.
        shown, clicked: how often; `clicked` <= `shown`.
        pages: how often anything of the placement was shown.
    """

    item_ids: list[str]
    places: list[int]
    shown: list[int]
    clicked: list[int]
    pages: int


class _Names(NamedTuple):
    answer: str = "recommendation_id"
    item: str = "item_id"


def click_counts(events: pl.LazyFrame, placement: str, *, since_ms: int) -> ClickCounts:
    """Counts of one placement.

    Only what was *shown* counts (an event `view_item_list` that carries a genuine `recommendation_id`); an item's place
    is its place in that event. A click counts once an answer and item, and only where the item was shown.

    Args:
        events: as `ingest.archive_reader.scan_archive`.
        since_ms: Unix milliseconds of acceptance.
    """
    names = _Names()
    mine = events.filter(
        (pl.col("accepted_at_ms") >= since_ms) & (pl.col("attribution").struct.field("placement") == placement)
    )
    shown = (
        mine.filter(pl.col("event") == "view_item_list")
        .unique(names.answer)
        .select(names.answer, names.item, pl.int_ranges(pl.col(names.item).list.len()).alias("place"))
        .explode([names.item, "place"])
        .filter(pl.col("place") < PLACES_MAX)
    )
    clicked = (
        mine.filter(pl.col("event") == "select_item")
        .select(names.answer, names.item)
        .explode(names.item)
        .unique()
        .with_columns(pl.lit(1).alias("clicked"))
    )
    cells = (
        shown.join(clicked, on=[names.answer, names.item], how="left")
        .group_by(names.item, "place")
        .agg(pl.len().alias("shown"), pl.col("clicked").sum())
        .sort(names.item, "place")
    )
    table, pages = pl.collect_all([cells, shown.select(pl.col(names.answer).n_unique())])
    return ClickCounts(
        table[names.item].to_list(),
        table["place"].to_list(),
        table["shown"].to_list(),
        table["clicked"].to_list(),
        int(pages.item()),
    )
