"""A training row says what the online store answered at its instant, value for value."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from feature_store import keys
from feature_store.asked_features import FAMILY_OF_ENTITY, by_entity
from feature_store.definitions import Value
from feature_store.item_index import ItemNames
from feature_store.online_store import OnlineStore
from feature_store.reading import read_features
from feature_store.registry import REGISTRY
from feature_store.training import training_set
from tests.integration.windows.fresh_clicks import (
    CATEGORIES,
    ITEMS,
    PLACEMENTS,
    VISITORS,
    archive_until,
    clicks,
    now_ms,
)
from tests.integration.windows.windows_tools import PARTITIONS, System, publish, taken_in, visitor_of, working

# Pairs of items have no records of their own.
FEATURES = [feature.full_name for feature in REGISTRY.features if feature.entity in FAMILY_OF_ENTITY]


class Online:
    """What the online store answers."""

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self._names = ItemNames()

    async def values(self, entity: str, key: str, features: Sequence[str], at_ms: int) -> list[Value]:
        [added] = await self._store.send([("LRANGE", keys.ITEM_IDS, len(self._names), -1)])
        self._names.learn(added)
        records = await self._store.read(self._keys_of(entity, key))
        return read_features(entity, records, features, at_ms, name_of=lambda n: self._names.ids_of([n])[0])

    def _keys_of(self, entity: str, key: str) -> list[bytes]:
        if entity == "visitor":
            return [keys.visitor_key_of(key)]
        if entity == "placement":
            return [keys.placement_key(partition, key) for partition in range(PARTITIONS)]
        if entity == "event_name":
            return [keys.event_kinds_key(partition) for partition in range(PARTITIONS)]
        name = key if entity == "item" else keys.category_name(key)
        names = self._names.ids_of(range(len(self._names)))
        number = names.index(name) if name in names else 0
        key_of = keys.item_key if entity == "item" else keys.category_key
        return [key_of(partition, number) for partition in range(PARTITIONS)]


def entities_of(rng: random.Random) -> dict[str, str]:
    """One of each; some that nobody ever saw."""
    return {
        "visitor": visitor_of(rng.randrange(VISITORS + 2)).hex(),
        "item": f"item-{rng.randrange(ITEMS + 1)}",
        "category": f"category-{rng.randrange(CATEGORIES + 1)}",
        "placement": rng.choice((*PLACEMENTS, "(other)", "nowhere")),
    }


async def test_training_rows_equal_what_the_online_store_answered_at_a_thousand_instants(
    embedded_system: System, tmp_path: Path
) -> None:
    system, rng = embedded_system, random.Random(6)
    online = Online(system.store)
    asked = by_entity(FEATURES, REGISTRY)
    logged: list[dict[str, Any]] = []
    published = 0
    async with working(system.bus, system.store):
        for _ in range(25):
            records = clicks(60, published, rng)
            published += len(records)
            await taken_in(system.store, await publish(system.bus, records))
            await asyncio.sleep(0.005)
            for _ in range(40):
                at_ms = now_ms()
                row: dict[str, Any] = {"at_ms": at_ms, **entities_of(rng)}
                for entity, features in asked.items():
                    values = await online.values(entity, row.get(entity, ""), features, at_ms)
                    row |= dict(zip(features, values, strict=True))
                logged.append(row)
            await asyncio.sleep(0.005)
    root = tmp_path / "archive"
    await archive_until(system, root, published)

    entity_rows = pl.DataFrame([{name: row[name] for name in ("at_ms", *entities_of(rng))} for row in logged])
    rows = training_set(entity_rows, FEATURES, archive=root).collect()
    in_passes = training_set(entity_rows, FEATURES, archive=root, entities_max=5).collect()

    assert len(logged) == 1_000
    assert rows.columns == ["at_ms", "visitor", "item", "category", "placement", *FEATURES]
    wanted = {_place(row): row for row in logged}
    for row in (*rows.to_dicts(), *in_passes.to_dicts()):
        logged_row = wanted[_place(row)]
        assert {name: (row[name], logged_row[name]) for name in row if row[name] != logged_row[name]} == {}, row
    assert len(rows) == len(in_passes) == 1_000
    assert sum(row["visitor:view_7d"] > 0 for row in logged) > 500
    assert sum(row["placement:shown_1h"] > 0 for row in logged) > 100


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("at_ms", "visitor", "item", "category", "placement"))
