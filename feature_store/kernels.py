"""Compile every numba kernel of the room into its cache, so that no event waits for a compiler."""

import numpy as np

from feature_store import layouts
from feature_store.bucket_record import apply_to_buckets, read_buckets
from feature_store.top_items_record import apply_to_top_items
from feature_store.visitor_record import apply_to_visitors

_LOG_ID = 1


def compile_all() -> None:
    """Apply one event to one record of each kind, with the types that the worker uses.

    `make setup` calls it to fill the cache, the worker before its first event to load from it.
    """
    touch = np.array([[0, 1, 0, 1_700_000_000_000, 1, 1, 1]], dtype=np.int64)
    item_hash = np.zeros(2, dtype=np.uint32)
    apply_to_visitors([None], touch, item_hash=item_hash, log_id=_LOG_ID)
    apply_to_top_items([None], touch, log_id=_LOG_ID)
    for layout in (layouts.ITEM, layouts.PLACEMENT, layouts.EVENT_KINDS, layouts.FRESHNESS):
        [record] = apply_to_buckets([None], touch, layout=layout, log_id=_LOG_ID)
        read_buckets(record, layout)


if __name__ == "__main__":
    compile_all()
