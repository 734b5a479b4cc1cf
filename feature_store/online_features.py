"""Feature values of many entities at an instant, read from the online store: what serving frameworks ask for."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from feature_store import keys, layouts
from feature_store.bucket_record import BucketLayout, read_buckets
from feature_store.definitions import Value
from feature_store.errors import UnknownFeatureError
from feature_store.online_store import OnlineStore
from feature_store.person_record import record_of_person
from feature_store.plugins import load_plugin
from feature_store.reading import read_features
from feature_store.visitor_features import VISITOR_VIEW
from feature_store.visitor_reader import VisitorReader


class Status(StrEnum):
    """What Feast says of a value."""

    PRESENT = "PRESENT"
    NULL_VALUE = "NULL_VALUE"
    NOT_FOUND = "NOT_FOUND"
    OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"


class EntityValues(NamedTuple):
    """One entity's values, side by side with the features asked for.

    Attributes:
        values: the defaults where nothing is stored.
        statuses: `NOT_FOUND`: nothing is stored; `OUTSIDE_MAX_AGE`: its newest event is older than the view's TTL.
        newest_ms: time of the newest event that the values rest on; 0 without any.
    """

    values: tuple[Value, ...]
    statuses: tuple[Status, ...]
    newest_ms: int


class _Read(NamedTuple):
    """What is stored of one entity: the records as its view takes them, and the newest time in them."""

    records: Sequence[Any]
    newest_ms: int


_PAIR = "item_pair"
_LAYOUTS: Mapping[str, BucketLayout] = {
    "item": layouts.ITEM,
    _PAIR: layouts.ITEM,
    "category": layouts.CATEGORY,
    "placement": layouts.PLACEMENT,
    "event_name": layouts.EVENT_KINDS,
}


class OnlineFeatures:
    """Reads features; concurrent calls share round trips with everybody who reads through `visitors`."""

    def __init__(self, store: OnlineStore, visitors: VisitorReader) -> None:
        plugin = load_plugin(store.settings.features_module)
        self._store = store
        self._visitors = visitors
        self._registry = plugin.registry
        self._layouts = {**_LAYOUTS, **{view.name: view.layout for view in plugin.counted}}
        self._partitions = 0

    def entity_of(self, names: Sequence[str]) -> str:
        """The one entity that features of these full names (`entity:name`) are of.

        Raises:
            UnknownFeatureError: one is not declared, there is none, or they are of several entities.
        """
        entities = sorted({self._registry.declared(name).entity for name in names})
        if len(entities) != 1:
            raise UnknownFeatureError(
                f"features: wanted those of one entity; got {', '.join(entities) or 'none'}; ask for each entity apart"
            )
        return entities[0]

    async def read(
        self,
        names: Sequence[str],
        entity_keys: Sequence[bytes | str],
        *,
        now_ms: int,
        deadline_ms: float,
        requests: Sequence[Mapping[str, Any]] = (),
    ) -> list[EntityValues]:
        """The features `names` of each entity as they are at `now_ms`.

        Args:
            names: `entity:name`, all of one entity.
            entity_keys: of visitors the 16 bytes of their key, of anything else its id or name; of a pair of items both
                ids with a tab between them.
            now_ms: the instant.
            deadline_ms: for all of it.
            requests: of each entity what on-demand features need to know of the request; none where they need nothing.

        Raises:
            UnknownFeatureError: as `entity_of`.
            StoreUnavailableError: no answer in time.
        """
        entity = self.entity_of(names)
        reads = await self._reads(entity, entity_keys, deadline_ms)
        given = requests or [{}] * len(reads)
        return [self._values(entity, names, read, now_ms, row) for read, row in zip(reads, given, strict=True)]

    async def _reads(self, entity: str, entity_keys: Sequence[bytes | str], deadline_ms: float) -> list[_Read]:
        if entity == VISITOR_VIEW.entity:
            visitor_keys = [key for key in entity_keys if isinstance(key, bytes)]
            records = [record_of_person(person) for person in await self._visitors.persons(visitor_keys, deadline_ms)]
            return [_Read([r], int(r.time_ms[-1]) if len(r.time_ms) else 0) for r in records]
        return await self._bucket_reads(entity, [str(key) for key in entity_keys], deadline_ms)

    async def _bucket_reads(self, entity: str, names: Sequence[str], deadline_ms: float) -> list[_Read]:
        if self._partitions == 0:
            _, self._partitions = await self._store.meta()
        wanted = await self._keys_of(entity, names, range(self._partitions))
        records = await self._visitors.records([key for group in wanted for key in group], deadline_ms)
        reads, at = [], 0
        for group in wanted:
            stored = [record for record in records[at : at + len(group)] if record is not None]
            newest_ms = max((read_buckets(record, self._layouts[entity]).newest_ms for record in stored), default=0)
            # A pair's records are told apart by their places.
            reads.append(_Read(records[at : at + len(group)] if entity == _PAIR else stored, newest_ms))
            at += len(group)
        return reads

    async def _keys_of(self, entity: str, names: Sequence[str], partitions: range) -> list[list[bytes]]:
        """Of each entity, the keys of its records in all partitions."""
        if entity == "placement":
            return [[keys.placement_key(partition, name) for partition in partitions] for name in names]
        if entity == "event_name":
            return [[keys.event_kinds_key(partition) for partition in partitions] for _ in names]
        if entity == _PAIR:
            pairs = [name.partition("\t")[::2] for name in names]
            of_each = await self._keys_of("item", [item for pair in pairs for item in pair], partitions)
            # An item that nobody has seen has no records; the other one's tell of no pair either.
            return [a + b if a and b else [] for a, b in zip(of_each[::2], of_each[1::2], strict=True)]
        listed = [self._listed(entity, name) for name in names]
        [numbers] = await self._store.send([("HMGET", keys.ITEM_INDEX, *listed)]) if listed else [[]]
        key_of = {"item": keys.item_key, "category": keys.category_key}.get(entity, keys.custom_key)
        return [
            [] if number is None else [key_of(partition, int(number)) for partition in partitions] for number in numbers
        ]

    def _listed(self, entity: str, name: str) -> str:
        """An item, a category or a key of a shop's own view as the list of names has it."""
        if entity == "item":
            return name
        return keys.category_name(name) if entity == "category" else keys.custom_name(entity, name)

    def _values(
        self, entity: str, names: Sequence[str], read: _Read, now_ms: int, request: Mapping[str, Any]
    ) -> EntityValues:
        values = read_features(
            entity,
            read.records,
            names,
            now_ms,
            name_of=self._visitors.name_of,
            registry=self._registry,
            request=request,
        )
        ttl_ms = next(view.ttl_ms for view in self._registry.views if view.entity == entity)
        statuses = tuple(_status(ttl_ms, value, read.newest_ms, now_ms) for value in values)
        return EntityValues(tuple(values), statuses, read.newest_ms)


def _status(ttl_ms: int, value: Value, newest_ms: int, now_ms: int) -> Status:
    if newest_ms == 0:
        return Status.NOT_FOUND
    if now_ms - newest_ms > ttl_ms:
        return Status.OUTSIDE_MAX_AGE
    return Status.NULL_VALUE if value is None else Status.PRESENT
