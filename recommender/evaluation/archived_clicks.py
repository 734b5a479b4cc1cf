"""A shop's own archive of events as clicks to evaluate on, in the columns that files of clicks have."""

from pathlib import Path

import polars as pl

from feature_store.kinds import KIND_OF_EVENT
from ingest.archive_reader import scan_archive
from recommender.errors import EvaluationInputError
from recommender.models.protocol import KIND_WEIGHT

SESSION_IDLE_MS = 1_800_000
"""A pause that ends a session, as the learner has it."""


def archived_clicks(root: Path) -> pl.DataFrame:
    """Columns `session`, `item`, `event`, `ts_ms`: every event that teaches, one row an item, sessions cut at pauses.

    Args:
        root: the archive's folder, `<data-dir>/archive/events`.

    Raises:
        EvaluationInputError: there is no such event.
    """
    taught = [name for name, kind in KIND_OF_EVENT.items() if KIND_WEIGHT[kind] > 0]
    events = (
        scan_archive(root)
        .filter(pl.col("event").is_in(taught))
        .select("visitor_key", "event", "item_id", ts_ms="time_ms")
        .collect()
        .sort("visitor_key", "ts_ms", maintain_order=True)
    )
    if events.is_empty():
        raise EvaluationInputError(
            wanted="an archive with events on items",
            got=f"none in {root}",
            next_step="name <data-dir>/archive/events of an installation that has seen visitors",
        )
    begins = (
        (pl.col("visitor_key") != pl.col("visitor_key").shift())
        | (pl.col("ts_ms") - pl.col("ts_ms").shift() > SESSION_IDLE_MS)
    ).fill_null(True)
    with_session = events.with_columns(session=begins.cum_sum().cast(pl.Int64))
    return with_session.explode("item_id").select("session", "event", "ts_ms", item="item_id")
