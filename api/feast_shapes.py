"""Feast's two endpoints over the online store: feature values by entity, and events pushed as columns."""

import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import msgspec

from api.errors import InvalidParameterError, UnavailableError
from feature_store.errors import StoreUnavailableError, UnknownFeatureError
from feature_store.online_features import EntityValues
from ingest.identity import visitor_key

ENTITIES_MAX = 1_000
FEATURES_MAX = 200
ROWS_MAX = 1_000
READ_MS = 1_000.0
PUSH_SOURCE = "events"
_VISITOR = "visitor"
KNOWN_FEATURES = {
    "features": f"1 to {FEATURES_MAX} names as `entity:name`",
    "entities": f"a column of at most {ENTITIES_MAX} ids, under the entity's name, and what features on demand need",
    "full_feature_names": "true or false",
}
KNOWN_PUSH = {
    "push_source_name": PUSH_SOURCE,
    "df": f"columns of at most {ROWS_MAX} rows, by the name of an event's field",
    "allow_registry_cache": "true or false",
    "to": "any of Feast's words; an event goes everywhere",
}
"""What each field wants, in words."""
_ITEM_COLUMNS = frozenset({"item_id", "quantity", "price", "item_category", "item_name"})


class FeaturesQuery(msgspec.Struct, frozen=True):
    """What `/get-online-features` is asked; other fields of Feast's are passed over.

    `features`: "entity:name", all of one entity. `entities`: its ids, in columns, under the entity's name; further
    columns of the same length are what features on demand are computed from.
    """

    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=FEATURES_MAX)]
    entities: dict[str, Annotated[tuple[str | int | float, ...], msgspec.Meta(max_length=ENTITIES_MAX)]]
    full_feature_names: bool = False


class FeatureNames(msgspec.Struct, frozen=True):
    """Which features the results are of, in order; the entity's ids come first."""

    feature_names: tuple[str, ...]


class FeatureColumn(msgspec.Struct, frozen=True):
    """One feature of every entity asked for."""

    values: tuple[Any, ...]
    statuses: tuple[str, ...]
    event_timestamps: tuple[str, ...]


class OnlineFeaturesAnswer(msgspec.Struct, frozen=True):
    """What `/get-online-features` answers, as Feast's feature server does."""

    metadata: FeatureNames
    results: tuple[FeatureColumn, ...]


class PushQuery(msgspec.Struct, frozen=True):
    """What `/push` is asked: `df` holds events in columns, one row an event and item.

    The columns are the fields of an event; `item_id`, `quantity`, `price`, `item_category`, `item_name` make its item.
    Rows with one `message_id` are one event with several items.
    """

    push_source_name: str
    df: dict[str, Annotated[tuple[Any, ...], msgspec.Meta(max_length=ROWS_MAX)]]
    allow_registry_cache: bool = True
    to: str = "online_and_offline"


class ReadFeatures(Protocol):
    """`feature_store.online_features.OnlineFeatures.read`."""

    def __call__(
        self,
        names: Sequence[str],
        entity_keys: Sequence[bytes | str],
        *,
        now_ms: int,
        deadline_ms: float,
        requests: Sequence[Mapping[str, Any]],
    ) -> Awaitable[list[EntityValues]]:
        """Values of each entity."""
        ...


class FeastShapes:
    """Answers `/get-online-features`.

    Args:
        secret: keys the hash that a raw visitor id becomes.
    """

    def __init__(self, read: ReadFeatures, *, secret: bytes, retry_after_s: int) -> None:
        self._read = read
        self._secret = secret
        self._retry_after_s = retry_after_s

    async def features(self, query: FeaturesQuery) -> OnlineFeaturesAnswer:
        """The features of each entity, now.

        Raises:
            InvalidParameterError: a feature that is not declared, or entities that the features are not of.
            UnavailableError: the store does not answer.
        """
        entity = query.features[0].partition(":")[0]
        ids = query.entities.get(entity)
        if ids is None or len({len(column) for column in query.entities.values()}) != 1:
            raise InvalidParameterError(
                "invalid_parameter",
                wanted=f"`entities` with the column {entity}, which the features are of; all columns of one length",
                got=", ".join(query.entities) or "none",
                next_step="ask for the features of each entity in a request of its own",
            )
        asked_with = {name: column for name, column in query.entities.items() if name != entity}
        requests = [dict(zip(asked_with, row, strict=True)) for row in zip(*asked_with.values(), strict=True)]
        try:
            rows = await self._read(
                query.features,
                self._keys(entity, ids),
                now_ms=time.time_ns() // 1_000_000,
                deadline_ms=READ_MS,
                requests=requests,
            )
        except UnknownFeatureError as error:
            raise InvalidParameterError(
                "unknown_feature",
                wanted="declared features of one entity, as `entity:name`",
                got=str(error),
                next_step="see docs/features.md, or `afterclick features list`",
            ) from error
        except StoreUnavailableError as error:
            raise UnavailableError(
                "unavailable",
                wanted="the online store",
                got=str(error),
                next_step="ask again after Retry-After",
                retry_after_s=self._retry_after_s,
            ) from error
        return _answer(query, entity, ids, rows)

    def _keys(self, entity: str, ids: Sequence[str | int | float]) -> list[bytes | str]:
        if entity != _VISITOR:
            return [str(found) for found in ids]
        return [visitor_key(str(found), secret=self._secret) for found in ids]


def pushed_events(query: PushQuery) -> list[dict[str, Any]]:
    """The events in the columns of a push, in the order of their first rows.

    Raises:
        InvalidParameterError: another source, columns of different lengths, or rows without a `message_id`.
    """
    lengths = {len(column) for column in query.df.values()}
    if query.push_source_name != PUSH_SOURCE or len(lengths) != 1 or "message_id" not in query.df:
        raise InvalidParameterError(
            "invalid_push",
            wanted=f'push_source_name "{PUSH_SOURCE}" and a df of columns of one length, `message_id` among them',
            got=f"{query.push_source_name[:64]} with columns {', '.join(sorted(query.df))[:256]}",
            next_step="see docs/feast.md",
        )
    events: dict[str, dict[str, Any]] = {}
    for row in zip(*query.df.values(), strict=True):
        fields = {name: value for name, value in zip(query.df, row, strict=True) if value is not None}
        item = {name: fields.pop(name) for name in tuple(fields) if name in _ITEM_COLUMNS}
        if "event_timestamp" in fields:
            fields.setdefault("timestamp", fields.pop("event_timestamp"))
        event = events.setdefault(str(fields.get("message_id")), {**fields, "items": []})
        if "item_id" in item:
            event["items"].append(item)
    return list(events.values())


def _answer(
    query: FeaturesQuery, entity: str, ids: Sequence[str | int | float], rows: Sequence[EntityValues]
) -> OnlineFeaturesAnswer:
    names = [
        name.replace(":", "__", 1) if query.full_feature_names else name.partition(":")[2] for name in query.features
    ]
    times = tuple(_told(row.newest_ms) for row in rows)
    present = ("PRESENT",) * len(ids)
    columns = [
        FeatureColumn(tuple([row.values[i] for row in rows]), tuple([row.statuses[i] for row in rows]), times)
        for i in range(len(names))
    ]
    own = FeatureColumn(tuple(ids), present, (_told(0),) * len(ids))
    return OnlineFeaturesAnswer(FeatureNames((entity, *names)), (own, *columns))


def _told(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
