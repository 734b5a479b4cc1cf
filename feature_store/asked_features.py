"""Features that somebody asks for by name, sorted by entity, with the records that each entity's are read from."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import polars as pl

from feature_store.definitions import Dtype, Registry
from feature_store.errors import UnknownFeatureError
from feature_store.families import CATEGORIES, EVENT_KINDS, ITEMS, PLACEMENTS, VISITORS, Family

FAMILY_OF_ENTITY: Final[Mapping[str, Family]] = {
    "visitor": VISITORS,
    "item": ITEMS,
    "category": CATEGORIES,
    "placement": PLACEMENTS,
    "event_name": EVENT_KINDS,
}
"""Where the features of an entity are kept; of all but visitors one record in each partition."""


DTYPES: Final[Mapping[Dtype, Any]] = {
    "int64": pl.Int64,
    "float64": pl.Float64,
    "bool": pl.Boolean,
    "string": pl.String,
    "int64_list": pl.List(pl.Int64),
    "float64_list": pl.List(pl.Float64),
    "string_list": pl.List(pl.String),
}
"""Columns of tables, by the features' dtypes."""


def by_entity(names: Sequence[str], registry: Registry, counted: Collection[str] = ()) -> dict[str, list[str]]:
    """The names, each `entity:name`, by their entity; `counted`: names of a shop's own views that may be asked for.

    Raises:
        UnknownFeatureError: one is not declared, or is kept in no record.
    """
    asked: dict[str, list[str]] = {}
    for name in names:
        view, _ = registry.find(name)
        if view.entity not in FAMILY_OF_ENTITY and view.entity not in counted:
            raise UnknownFeatureError(
                f"feature: wanted one of {', '.join(FAMILY_OF_ENTITY)}; got {name}, which is not among the records "
                "that are replayed here; leave it away, or see docs/training.md"
            )
        asked.setdefault(view.entity, []).append(name)
    return asked
