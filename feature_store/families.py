"""The kinds of record there are: their layout numbers and the pure functions that bring them up to date."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store import layouts
from feature_store.bucket_record import BucketLayout, apply_to_buckets
from feature_store.identity_record import apply_to_identities
from feature_store.record_header import LAYOUT_IDENTITY, LAYOUT_TOP_ITEMS, LAYOUT_VISITOR
from feature_store.top_items_record import apply_to_top_items
from feature_store.touches import Touches
from feature_store.visitor_record import apply_to_visitors


class Family(NamedTuple):
    """One kind of record."""

    name: str
    layout: int
    apply: Callable[[Sequence[bytes | None], Touches, NDArray[np.uint32], int], list[bytes | None]]
    """`apply(records, touches, item_hash, log_id)`: see `visitor_record.apply_to_visitors`."""
    shape: int = 0
    """See `BucketLayout.shape`."""


def bucket_family(name: str, layout: BucketLayout) -> Family:
    """A family of records of buckets."""
    return Family(
        name,
        layout.number,
        lambda records, touches, _, log_id: apply_to_buckets(records, touches, layout=layout, log_id=log_id),
        layout.shape,
    )


VISITORS: Final = Family(
    "visitor",
    LAYOUT_VISITOR,
    lambda records, touches, item_hash, log_id: apply_to_visitors(records, touches, item_hash=item_hash, log_id=log_id),
)
IDENTITIES: Final = Family(
    "identity",
    LAYOUT_IDENTITY,
    lambda records, touches, _, log_id: apply_to_identities(records, touches, log_id=log_id),
)
TOP_ITEMS: Final = Family(
    "top_items",
    LAYOUT_TOP_ITEMS,
    lambda records, touches, _, log_id: apply_to_top_items(records, touches, log_id=log_id),
)
ITEMS: Final = bucket_family("item", layouts.ITEM)
CATEGORIES: Final = bucket_family("category", layouts.CATEGORY)
PLACEMENTS: Final = bucket_family("placement", layouts.PLACEMENT)
EVENT_KINDS: Final = bucket_family("event_kinds", layouts.EVENT_KINDS)

FAMILIES: Final = (VISITORS, ITEMS, CATEGORIES, PLACEMENTS, EVENT_KINDS, TOP_ITEMS, IDENTITIES)
