"""Every window value in the store, by entity and with item ids: to compare two systems, or to look at one."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from feature_store import keys, layouts
from feature_store.bucket_record import BucketLayout, count_since, decayed_count, read_buckets
from feature_store.definitions import EVENT_NAME_WINDOWS, ITEM_WINDOWS, PLACEMENT_WINDOWS, BucketWindow
from feature_store.item_index import ItemNames
from feature_store.kinds import Kind
from feature_store.online_store import OnlineStore
from feature_store.visitor_record import VisitorRecord, read_visitor
from feature_store.windows import VISITOR_WINDOWS_MS, count_by_kind

Windows = dict[str, dict[str, Any]]
"""Entity ("visitor:<hex>", "item:<id>", "placement:<name>", "events") -> window -> value."""


async def dump_windows(store: OnlineStore, at_ms: int) -> Windows:
    """All windows as they are at `at_ms`, summed over partitions; equal for two stores that took in the same events.

    The candidates for the top items are left out: which they are depends on the order of the log. Reads everything:
    for tests and audits, not for serving.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    names = ItemNames()
    [added] = await store.send([("LRANGE", keys.ITEM_IDS, 0, -1)])
    names.learn(added)
    windows: Windows = {}
    async for key, raw in store.scan(b"v:*"):
        windows[f"visitor:{key[2:].hex()}"] = _visitor_windows(read_visitor(raw), names, at_ms)
    for dumped in (
        _Dumped(
            "item:", b"i:*", layouts.ITEM, ITEM_WINDOWS, lambda key: names.ids_of([keys.split_item_key(key)[1]])[0]
        ),
        _Dumped("placement:", b"p:*", layouts.PLACEMENT, PLACEMENT_WINDOWS, lambda key: key[4:].decode()),
        _Dumped("events", b"k:*", layouts.EVENT_KINDS, EVENT_NAME_WINDOWS, lambda _: ""),
    ):
        windows.update(await _bucket_windows(store, dumped, at_ms))
    return windows


class _Dumped(NamedTuple):
    """One kind of bucket record: where it lies, and what is read from it."""

    entity: str
    pattern: bytes
    layout: BucketLayout
    windows: tuple[BucketWindow, ...]
    name_of: Callable[[bytes], str]


def _visitor_windows(record: VisitorRecord, names: ItemNames, at_ms: int) -> dict[str, Any]:
    ids = names.ids_of(record.item_index.tolist())
    windows: dict[str, Any] = {
        "events": [
            [time_ms, Kind(kind).name.lower(), quantity, item_id]
            for time_ms, kind, quantity, item_id in zip(
                record.time_ms.tolist(), record.kind.tolist(), record.quantity.tolist(), ids, strict=True
            )
        ],
        "shown": list(zip(record.shown_time_ms.tolist(), names.ids_of(record.shown_item_index.tolist()), strict=True)),
        "overflowed": record.overflowed,
    }
    for name, window_ms in VISITOR_WINDOWS_MS.items():
        counted = count_by_kind(record, window_ms=window_ms, now_ms=at_ms)
        windows |= {f"{kind.name.lower()}_{name}": count for kind, count in zip(Kind, counted.counts, strict=True)}
    return windows


async def _bucket_windows(store: OnlineStore, dumped: _Dumped, at_ms: int) -> Windows:
    layout = dumped.layout
    summed: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    async for key, raw in store.scan(dumped.pattern):
        record = read_buckets(raw, layout)
        values_of = summed[dumped.entity + dumped.name_of(key)]
        for window in dumped.windows:
            if window.decayed:
                values = decayed_count(record, layout, window.resolution, now_ms=at_ms).tolist()
            else:
                start_ms = at_ms - window.window_ms
                values = count_since(record, layout, window.resolution, start_ms=start_ms, end_ms=at_ms).tolist()
            for metric, value in zip(layout.metrics, values, strict=True):
                values_of[f"{metric}_{window.name}"] += value
    return {name: {window: _rounded(value) for window, value in values.items()} for name, values in summed.items()}


def _rounded(value: float) -> float:
    """Sums over partitions may differ in the last bits with the order of the keys."""
    return float(f"{value:.9g}")
