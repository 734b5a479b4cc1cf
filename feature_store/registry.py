"""Every feature that Afterclick itself declares; a shop's own come from its plug-in (`plugins`)."""

from typing import Final

from feature_store.bucket_features import (
    CATEGORY,
    CATEGORY_VIEW,
    EVENT_NAME,
    EVENT_NAME_VIEW,
    ITEM,
    ITEM_VIEW,
    PLACEMENT,
    PLACEMENT_VIEW,
)
from feature_store.definitions import Registry
from feature_store.pair_features import ITEM_PAIR, ITEM_PAIR_VIEW
from feature_store.visitor_features import VISITOR, VISITOR_VIEW

REGISTRY: Final = Registry(
    (VISITOR, ITEM, ITEM_PAIR, CATEGORY, PLACEMENT, EVENT_NAME),
    (VISITOR_VIEW, ITEM_VIEW, ITEM_PAIR_VIEW, CATEGORY_VIEW, PLACEMENT_VIEW, EVENT_NAME_VIEW),
)
"""`docs/features.md` is made from it."""
