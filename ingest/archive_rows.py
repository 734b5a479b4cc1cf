"""Events as rows of Parquet, and back again without loss."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from ingest.bus.contract import Position
from ingest.events import Attribution, Event, Item

SCHEMA: dict[str, Any] = {
    "partition": pl.Int32,
    "position": pl.String,
    "accepted_at_ms": pl.Int64,
    "message_id": pl.String,
    "event": pl.String,
    "visitor_key": pl.String,
    "user_key": pl.String,
    "browser_key": pl.String,
    "time_ms": pl.Int64,
    "received_at_ms": pl.Int64,
    "client_time_ms": pl.Int64,
    "session_id": pl.String,
    "item_id": pl.List(pl.String),
    "quantity": pl.List(pl.Int32),
    "price": pl.List(pl.Float64),
    "item_category": pl.List(pl.String),
    "value": pl.Float64,
    "currency": pl.String,
    "search_term": pl.String,
    "recommendation_id": pl.String,
    "placement": pl.String,
    "attribution": pl.Struct(
        {
            "placement": pl.String,
            "served_ms": pl.Int64,
            "variant": pl.String,
            "rules": pl.Int64,
            "model_ms": pl.Int64,
            "foreign": pl.List(pl.Int32),
        }
    ),
    "late": pl.Boolean,
    "rest": pl.String,
}
"""`position` sorts as positions do; `item_id`, `quantity`, `price` and `item_category` run side by side. `rest` is JSON
of every field without a column, null when there is none; in older files it has what has a column now."""

_PLACE = ("partition", "position", "accepted_at_ms")
_ITEM_COLUMNS = ("item_id", "quantity", "price", "item_category")
_EVENT_COLUMNS = tuple(name for name in SCHEMA if name not in {*_PLACE, *_ITEM_COLUMNS, "attribution", "rest"})
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Event)}
_REST_FIELDS = tuple(name for name in _DEFAULTS if name not in {*_EVENT_COLUMNS, "items", "attribution"})
_ITEM_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Item)}
_ITEM_REST_FIELDS = tuple(name for name in _ITEM_DEFAULTS if name not in _ITEM_COLUMNS)


class ArchivedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event and where it lay in the log."""

    partition: int
    position: Position
    accepted_at_ms: int
    event: Event


def rows_of(archived: Sequence[ArchivedEvent]) -> pl.DataFrame:
    """One row an event, columns as `SCHEMA`."""
    events = [row.event for row in archived]
    columns: dict[str, list[Any]] = {
        "partition": [row.partition for row in archived],
        "position": [str(row.position) for row in archived],
        "accepted_at_ms": [row.accepted_at_ms for row in archived],
        "attribution": [_attribution_row(event.attribution) for event in events],
        "rest": [_rest_of(event) for event in events],
    }
    for name in _EVENT_COLUMNS:
        columns[name] = [getattr(event, name) for event in events]
    for name in _ITEM_COLUMNS:
        columns[name] = [[getattr(item, name) for item in event.items] for event in events]
    return pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=SCHEMA)


def events_of(rows: pl.DataFrame) -> Iterator[ArchivedEvent]:
    """The inverse of `rows_of`; columns it does not know are left out."""
    for row in rows.select(list(SCHEMA)).iter_rows(named=True):
        rest = msgspec.json.decode(row["rest"]) if row["rest"] else {}
        fields = {name: row[name] for name in _EVENT_COLUMNS}
        fields["attribution"] = _attribution_of(row["attribution"])
        fields["items"] = _items_of(row, rest.pop("items", None))
        yield ArchivedEvent(
            row["partition"], Position.parse(row["position"]), row["accepted_at_ms"], Event(**{**fields, **rest})
        )


def _attribution_row(attribution: Attribution | None) -> dict[str, Any] | None:
    return None if attribution is None else msgspec.structs.asdict(attribution)


def _attribution_of(row: dict[str, Any] | None) -> Attribution | None:
    # Some readers give a struct of nulls where there is no struct.
    if row is None or row["placement"] is None:
        return None
    return Attribution(**{**row, "foreign": tuple(row["foreign"])})


def _rest_of(event: Event) -> str | None:
    rest = {name: found for name in _REST_FIELDS if (found := getattr(event, name)) != _DEFAULTS[name]}
    items = [
        {name: found for name in _ITEM_REST_FIELDS if (found := getattr(item, name)) != _ITEM_DEFAULTS[name]}
        for item in event.items
    ]
    if any(items):
        rest["items"] = items
    return msgspec.json.encode(rest).decode() if rest else None


def _items_of(row: dict[str, Any], rest: list[dict[str, Any]] | None) -> tuple[Item, ...]:
    items = []
    for place, item_id in enumerate(row["item_id"]):
        fields = {name: row[name][place] for name in _ITEM_COLUMNS if row[name] is not None}
        items.append(Item(**{**fields, **(rest[place] if rest else {}), "item_id": item_id}))
    return tuple(items)
