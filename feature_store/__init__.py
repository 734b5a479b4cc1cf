"""Events become numbers, the same online and offline."""

from feature_store.errors import FeatureStoreError, StoreUnavailableError
from feature_store.online_store import OnlineStore
from feature_store.settings import Settings, StoreSettings, WorkerSettings
from feature_store.visitor_reader import VisitorHistory, VisitorReader

__all__ = [
    "FeatureStoreError",
    "OnlineStore",
    "Settings",
    "StoreSettings",
    "StoreUnavailableError",
    "VisitorHistory",
    "VisitorReader",
    "WorkerSettings",
]
