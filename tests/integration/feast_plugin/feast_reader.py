"""Run by the Python of Feast's environment: define views in a real Feast, read them through the plug-in, print JSON.

python feast_reader.py STORE_URL KEYS_FILE FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Bool, Float64, Int64, String

from feature_store.definitions import Dtype
from feature_store.registry import REGISTRY

TYPES: dict[Dtype, Any] = {
    "int64": Int64,
    "float64": Float64,
    "bool": Bool,
    "string": String,
    "int64_list": Array(Int64),
    "float64_list": Array(Float64),
    "string_list": Array(String),
}


def view_of(name: str, folder: Path) -> tuple[Entity, FeatureView]:
    """Our view as a data engineer declares it in Feast."""
    view = next(view for view in REGISTRY.views if view.name == name)
    entity = Entity(name=view.entity, join_keys=[view.entity], value_type=ValueType.STRING)
    schema = [Field(name=f.name, dtype=TYPES[f.dtype]) for f in view.features]
    source = FileSource(path=str(folder / "none.parquet"), timestamp_field="event_timestamp")
    return entity, FeatureView(name=name, entities=[entity], schema=schema, source=source)


def main(url: str, keys_file: str, folder: Path) -> None:
    """Print what Feast answers, and what it says of a write and of a feature that nobody declared."""
    online_store = {
        "type": "feature_store.feast_plugin.AfterclickOnlineStore",
        "url": url,
        "keys_file": keys_file,
    }
    store = FeatureStore(
        config=RepoConfig(
            project="shop",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=online_store,
            entity_key_serialization_version=3,
        )
    )
    visitors, visitor_view = view_of("visitor", folder)
    items, item_view = view_of("item", folder)
    store.apply([visitors, visitor_view, items, item_view])
    answered = {
        "visitors": store.get_online_features(
            features=["visitor:view_1h", "visitor:event_items", "visitor:since_purchase_ms"],
            entity_rows=[{"visitor": "ann"}, {"visitor": "bob"}, {"visitor": "nobody"}],
        ).to_dict(),
        "items": store.get_online_features(
            features=["item:view_1h", "item:purchase_24h"], entity_rows=[{"item": "mug"}, {"item": "none"}]
        ).to_dict(),
    }
    try:
        row = {field.name: [0] for field in item_view.schema} | {"item": ["mug"]}
        row["event_timestamp"] = [pandas.Timestamp.now(tz="UTC")]
        store.write_to_online_store("item", df=pandas.DataFrame(row))
    except Exception as error:
        answered["write"] = f"{type(error).__name__}: {error}"
    print("ANSWER " + json.dumps(answered))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
