"""Every window value in the store, by entity and with item ids: to compare two systems, or to look at one."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from feature_store import keys
from feature_store.bucket_features import CATEGORY_VIEW, EVENT_NAME_VIEW, ITEM_VIEW, PLACEMENT_VIEW
from feature_store.definitions import FeatureView
from feature_store.item_index import ItemNames
from feature_store.online_store import OnlineStore
from feature_store.reading import read_view
from feature_store.visitor_features import VISITOR_VIEW

Windows = dict[str, dict[str, Any]]
"""Entity ("visitor:<hex>", "item:<id>", "category:<name>", "placement:<name>", "event_name:") -> feature -> value."""


async def dump_windows(store: OnlineStore, at_ms: int) -> Windows:
    """All features as they are at `at_ms`; equal for two stores that took in the same events.

    The candidates for the top items are left out: which they are depends on the order of the log. Reads everything:
    for tests and audits, not for serving.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    kinds = (
        _Dumped(b"v:*", VISITOR_VIEW, lambda key, _: key[2:].hex()),
        _Dumped(b"i:*", ITEM_VIEW, lambda key, name_of: name_of(keys.split_item_key(key)[1])),
        _Dumped(b"g:*", CATEGORY_VIEW, lambda key, name_of: keys.category_of(name_of(keys.split_item_key(key)[1]))),
        _Dumped(b"p:*", PLACEMENT_VIEW, lambda key, _: key[4:].decode()),
        _Dumped(b"k:*", EVENT_NAME_VIEW, lambda *_: ""),
    )
    records = [[pair async for pair in store.scan(kind.pattern)] for kind in kinds]
    # Asked for last: an item is numbered before any record says its number, so these name whatever was found.
    names = ItemNames()
    [ids] = await store.send([("LRANGE", keys.ITEM_IDS, 0, -1)])
    names.learn(ids)

    def name_of(number: int) -> str:
        return names.ids_of([number])[0]

    windows: Windows = {}
    for kind, pairs in zip(kinds, records, strict=True):
        found: dict[str, list[bytes]] = defaultdict(list)
        for key, record in pairs:
            found[kind.name_of(key, name_of)].append(record)
        for name, parts in found.items():
            values = read_view(kind.view, parts, at_ms, name_of=name_of)
            windows[f"{kind.view.entity}:{name}"] = {feature: _rounded(value) for feature, value in values.items()}
    return windows


class _Dumped(NamedTuple):
    """One kind of record: where it lies, and what it is called."""

    pattern: bytes
    view: FeatureView
    name_of: Callable[[bytes, Callable[[int], str]], str]


def _rounded(value: Any) -> Any:
    """Sums over partitions may differ in the last bits with the order of the keys."""
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value
