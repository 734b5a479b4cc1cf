"""What the visitors of an experiment did, counted from the archive: one row a visitor, never an event twice."""

import polars as pl

from ingest.attribution import INTERLEAVED
from recommender.experiments.definition import Experiment
from recommender.experiments.report import ArmOutcomes, Outcomes, Preferences

SALE_MS = 7 * 86_400_000
"""How long after the first exposure a sale counts."""

_VARIANT = pl.col("attribution").struct.field("variant")


def outcomes(events: pl.LazyFrame, experiment: Experiment) -> Outcomes:
    """Sums by variant, the holdout's too; of an interleaved experiment all but the holdout are one arm.

    A visitor is in the experiment from the first time a suggestion of it was *shown* to them (half in view), not from
    an answer that may never have been seen. Who was shown two variants (shares were changed meanwhile) is left out.

    Args:
        events: as `ingest.archive_reader.scan_archive`.
    """
    prefix = f"{experiment.id}/"
    mine = events.filter(_VARIANT.str.starts_with(prefix)).with_columns(
        _VARIANT.str.strip_prefix(prefix).alias("variant")
    )
    exposed = (
        mine.filter(pl.col("event") == "view_item_list")
        .group_by("visitor_key")
        .agg(pl.col("variant").min(), pl.col("variant").n_unique().alias("variants"), pl.col("time_ms").min())
        .filter(pl.col("variants") == 1)
        .select("visitor_key", "variant", pl.col("time_ms").alias("exposed_ms"))
    )
    clicks = mine.filter(pl.col("event") == "select_item")
    if experiment.method == "interleaving":
        clicks = clicks.rename({"variant": "team"})
    same = ["visitor_key"] if experiment.method == "interleaving" else ["visitor_key", "variant"]
    after = clicks.join(exposed, on=same).filter(pl.col("time_ms") >= pl.col("exposed_ms"))
    clicked = after.select("visitor_key").unique().with_columns(pl.lit(1).alias("clicked"))
    rows = (
        exposed.join(clicked, on="visitor_key", how="left")
        .join(_spent(events, exposed, experiment.revenue_cap), on="visitor_key", how="left")
        .group_by("variant")
        .agg(
            pl.len().alias("visitors"),
            pl.col("clicked").fill_null(0).sum(),
            pl.col("bought").fill_null(False).sum(),
            pl.col("spent").fill_null(0.0).sum().alias("revenue"),
            (pl.col("spent") ** 2).fill_null(0.0).sum().alias("revenue_squares"),
        )
        .collect()
    )
    arms = {
        row["variant"]: ArmOutcomes(
            row["visitors"], row["clicked"], row["bought"], row["revenue"], row["revenue_squares"]
        )
        for row in rows.iter_rows(named=True)
    }
    if experiment.method != "interleaving":
        return Outcomes(arms)
    visitors = arms[INTERLEAVED].visitors if INTERLEAVED in arms else 0
    return Outcomes(arms, _preferences(after, experiment, visitors))


def _preferences(clicks: pl.LazyFrame, experiment: Experiment, visitors: int) -> Preferences:
    """Each visitor judges once: by the list that more of their clicks fell on."""
    first, second = (variant.name for variant in experiment.variants)
    of_first, of_second = (pl.col("team") == first).sum(), (pl.col("team") == second).sum()
    margin = of_second.cast(pl.Int64) - of_first.cast(pl.Int64)
    signs = (
        clicks.filter(pl.col("team").is_in([first, second]))
        .unique(["visitor_key", "recommendation_id", "item_id", "team"])
        .group_by("visitor_key")
        .agg(margin.sign().alias("sign"))
        .group_by("sign")
        .len()
        .collect()
    )
    counts = dict(signs.iter_rows())
    return Preferences(visitors, counts.get(-1, 0), counts.get(1, 0), counts.get(0, 0))


def _spent(events: pl.LazyFrame, exposed: pl.LazyFrame, cap: float) -> pl.LazyFrame:
    """Per visitor: `bought` anything after the first exposure; `spent`, less what was given back, from 0 to `cap`."""
    amounts = (
        events.filter(pl.col("event").is_in(["purchase", "refund"]))
        .join(exposed, on="visitor_key")
        .filter(pl.col("time_ms").is_between(pl.col("exposed_ms"), pl.col("exposed_ms") + SALE_MS))
        .explode(["price", "quantity"])
        .with_columns((pl.col("price") * pl.col("quantity")).alias("amount"))
    )
    signed = pl.when(pl.col("event") == "refund").then(-pl.col("amount")).otherwise(pl.col("amount"))
    return amounts.group_by("visitor_key").agg(
        signed.sum().clip(0.0, cap).alias("spent"), (pl.col("event") == "purchase").any().alias("bought")
    )
