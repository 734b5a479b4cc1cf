"""Events become numbers, the same online and offline.

What computes lies in the modules and is imported from them, since numba takes most of a second to import: `worker`
(`run_worker`), `rebuild`, `visitor_reader` (`VisitorReader`), `online_store`, `kpi`, `dump`, `kernels`.
"""

from feature_store.errors import FeatureStoreError, StoreUnavailableError
from feature_store.kinds import KIND_OF_EVENT, Kind
from feature_store.settings import Settings, StoreSettings, WorkerSettings

__all__ = [
    "KIND_OF_EVENT",
    "FeatureStoreError",
    "Kind",
    "Settings",
    "StoreSettings",
    "StoreUnavailableError",
    "WorkerSettings",
]
