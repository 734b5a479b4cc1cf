"""Afterclick's online store as an `OnlineStore` of Feast: features are read where the worker keeps them.

In `feature_store.yaml`:

    online_store:
      type: feature_store.feast_plugin.AfterclickOnlineStore
      url: valkey://127.0.0.1:6379
      keys_file: /var/lib/afterclick/keys.toml

Feast asks for one entity in one feature view; the view is named as Afterclick's (`visitor`, `item`, …), and its join
key holds the id as a string. Needs the package `feast`; nothing else of Afterclick imports this module.
"""

import asyncio
import threading
import time
import tomllib
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore as FeastOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value
from feast.repo_config import FeastConfigBaseModel

from feature_store.definitions import Dtype
from feature_store.definitions import Value as FeatureValue
from feature_store.online_features import EntityValues, OnlineFeatures, Status
from feature_store.online_store import OnlineStore
from feature_store.registry import REGISTRY
from feature_store.visitor_reader import VisitorReader
from ingest.identity import visitor_key

READ_MS = 1_000.0
_VISITOR = "visitor"

Read = tuple[datetime | None, dict[str, Value] | None]
Answer = TypeVar("Answer")


class AfterclickOnlineStoreConfig(FeastConfigBaseModel):
    """The section `online_store` of `feature_store.yaml`.

    `keys_file`: Afterclick's `keys.toml`, whose secret turns a visitor's id into the key of their record; without it
    the join key of `visitor` holds that key itself, 32 hex digits.
    """

    type: Literal["feature_store.feast_plugin.AfterclickOnlineStore"] = (
        "feature_store.feast_plugin.AfterclickOnlineStore"
    )
    url: str
    keys_file: str | None = None


class AfterclickOnlineStore(FeastOnlineStore):
    """Read only: values come of events, which the collector takes; Feast's `push` and `materialize` write nothing."""

    def __init__(self) -> None:
        self._reading: _Reading | None = None

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        """The features of each entity now, and the time of the newest event they rest on."""
        return self._reading_of(config).read(table, entity_keys, requested_features)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Any, progress: Callable[[int], Any] | None
    ) -> None:
        """Raises NotImplementedError, with what to do."""
        raise NotImplementedError(
            f"feature view {table.name}: wanted events; got values of features; send the events to Afterclick "
            "(`POST /push` or `/v1/events`), its worker computes the values"
        )

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Raises ValueError: `feast apply` of a view or a feature that Afterclick does not declare."""
        for table in tables_to_keep:
            for field in table.features:
                REGISTRY.find(f"{table.name}:{field.name}")

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Let go of the connection; Afterclick's records stay."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _reading_of(self, config: RepoConfig) -> "_Reading":
        if self._reading is None:
            self._reading = _Reading(config.online_store)
        return self._reading


class _Reading:
    """A connection in an event loop on a thread of its own: Feast calls from any thread, and waits."""

    def __init__(self, config: AfterclickOnlineStoreConfig) -> None:
        self._secret = None if config.keys_file is None else _visitor_secret(Path(config.keys_file))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="afterclick-online-store", daemon=True)
        self._thread.start()
        self._store = OnlineStore(config.url)
        self._features = OnlineFeatures(self._store, VisitorReader(self._store))

    def read(self, table: FeatureView, entity_keys: Sequence[EntityKey], requested: Sequence[str] | None) -> list[Read]:
        names = list(requested) if requested else [field.name for field in table.features]
        full_names = [f"{table.name}:{name}" for name in names]
        entity = self._features.entity_of(full_names)
        keys = [self._key_of(entity, entity_key) for entity_key in entity_keys]
        rows = self._wait(
            self._features.read(full_names, keys, now_ms=time.time_ns() // 1_000_000, deadline_ms=READ_MS)
        )
        dtypes = [REGISTRY.declared(name).dtype for name in full_names]
        return [_told(names, dtypes, row) for row in rows]

    def close(self) -> None:
        self._wait(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _wait(self, reading: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(reading, self._loop).result()

    def _key_of(self, entity: str, entity_key: EntityKey) -> bytes | str:
        [value] = entity_key.entity_values
        raw = str(getattr(value, value.WhichOneof("val")))
        if entity != _VISITOR:
            return raw
        return bytes.fromhex(raw) if self._secret is None else visitor_key(raw, secret=self._secret)


def _told(names: Sequence[str], dtypes: Sequence[Dtype], row: EntityValues) -> Read:
    if Status.NOT_FOUND in row.statuses:
        return None, None
    values = {name: proto_of(value, dtype) for name, value, dtype in zip(names, row.values, dtypes, strict=True)}
    return datetime.fromtimestamp(row.newest_ms / 1000, UTC), values


def proto_of(value: FeatureValue, dtype: Dtype) -> Value:
    """A value in Feast's protobuf; no value is an empty one."""
    if value is None:
        return Value()
    match dtype:
        case "int64":
            return Value(int64_val=value)
        case "float64":
            return Value(double_val=value)
        case "bool":
            return Value(bool_val=value)
        case "string":
            return Value(string_val=value)
        case "int64_list":
            return Value(int64_list_val=Int64List(val=value))
        case "float64_list":
            return Value(double_list_val=DoubleList(val=value))
        case "string_list":
            return Value(string_list_val=StringList(val=value))


def _visitor_secret(keys_file: Path) -> bytes:
    secret: str = tomllib.loads(keys_file.read_text())["visitor_secret"]
    return bytes.fromhex(secret)
