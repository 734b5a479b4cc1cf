"""What a file calls its events, and what we call them."""

from collections.abc import Mapping

import polars as pl

from ingest.events import EVENT_NAMES, canonical_name
from loadtest.errors import InputFileError

USUAL_KINDS: Mapping[str, str] = {
    "view": "view_item",
    "click": "view_item",
    "clicks": "view_item",
    "cart": "add_to_cart",
    "carts": "add_to_cart",
    "addtocart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "order": "purchase",
    "orders": "purchase",
    "buy": "purchase",
    "buys": "purchase",
    "transaction": "purchase",
    "cancel": "refund",
    "cancellation": "refund",
    "return": "refund",
}

SKIP = "skip"
"""Stands for an event name: rows of this kind are left out on purpose, and counted."""


def kind_table(frame: pl.DataFrame, kinds: Mapping[str, str]) -> dict[str, str]:
    """Each kind of the file to an event name or SKIP; unknown kinds are left out.

    Raises:
        InputFileError: `kinds` names an event nobody knows.
    """
    for kind, wished in kinds.items():
        if wished != SKIP and canonical_name(wished) is None:
            raise InputFileError(
                wanted=f"one of {', '.join(EVENT_NAMES)}, or {SKIP}",
                got=f"{kind}={wished}",
                next_step="correct --kind",
            )
    table: dict[str, str] = {}
    for kind in frame["kind"].drop_nulls().unique().to_list():
        named: str = kinds.get(kind) or USUAL_KINDS.get(kind.lower()) or kind
        event: str | None = SKIP if named == SKIP else canonical_name(named)
        if event is not None:
            table[kind] = event
    return table


def named_events(frame: pl.DataFrame, table: Mapping[str, str]) -> pl.DataFrame:
    """`event` from `kind`; a purchase of a negative quantity is a refund of so many."""
    named = pl.col("kind").replace_strict(table, default=None, return_dtype=pl.String)
    turned = pl.when((named == "purchase") & (pl.col("quantity") < 0)).then(pl.lit("refund")).otherwise(named)
    return frame.with_columns(turned.alias("event"))
