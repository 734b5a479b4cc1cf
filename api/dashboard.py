"""What the dashboard shows, put together from the store's windows, the catalogue and the metrics."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from api.aside import Aside
from api.catalog_table import CatalogTable
from api.errors import UnavailableError
from api.recent import AnswerTimes, RecentAnswers
from feature_store.errors import FeatureStoreError
from feature_store.kpi import DashboardNumbers, Freshness, KindRate, PlacementNumbers, ProductViews, dashboard_numbers
from feature_store.online_store import OnlineStore

FEATURES_READ: Final = (
    "event_name:*",
    "item:view_1h",
    "item:view_2h",
    "item:add_1h",
    "item:purchase_1h",
    "placement:shown_1h",
    "placement:clicked_1h",
)
"""What the page shows, as the feature store declares it."""

OpenStore = Callable[[], OnlineStore]
"""A connection to the online store; called on the thread that will use it."""

_AGE_S_MAX = 0.5
"""Several dashboards share one reading, at most this old: a page that asks each second shows a click within two."""
_SHOWN = ("title", "price", "currency", "image", "url", "category")


class ShownProduct(msgspec.Struct, frozen=True, omit_defaults=True):
    """One product with what the catalogue knows of it. `change`: views more than in the hour before."""

    item_id: str
    views_1h: int
    change: int
    adds_1h: int
    purchases_1h: int
    properties: dict[str, Any] = {}


class DashboardData(msgspec.Struct, frozen=True):
    """Everything the page shows, at one instant."""

    at_ms: int
    products_known: int
    kinds: tuple[KindRate, ...]
    top: tuple[ShownProduct, ...]
    rising: tuple[ShownProduct, ...]
    placements: tuple[PlacementNumbers, ...]
    freshness: Freshness
    answers: AnswerTimes
    served_by: dict[str, int]


class Dashboard:
    """Reads the numbers on a thread of its own, at most about once a second, whoever asks."""

    def __init__(self, open_store: OpenStore, catalog: CatalogTable, *, retry_after_s: int) -> None:
        self._open_store = open_store
        self._catalog = catalog
        self._retry_after_s = retry_after_s
        self._aside: Aside | None = None
        self._store: OnlineStore | None = None
        self._recent = RecentAnswers()
        self._lock = asyncio.Lock()
        self._latest: DashboardData | None = None
        self._read_at_s = 0.0

    async def data(self) -> DashboardData:
        """The numbers, at most 0.5 s old.

        Raises:
            UnavailableError: the online store does not answer.
        """
        async with self._lock:
            if self._latest is None or time.monotonic() - self._read_at_s > _AGE_S_MAX:
                self._latest = await self._read()
                self._read_at_s = time.monotonic()
            return self._latest

    async def close(self) -> None:
        """Let go of the thread and its connection."""
        if self._aside is not None:
            if self._store is not None:
                await self._aside.run(self._store.close)
            await self._aside.close()
            self._aside = None

    async def _read(self) -> DashboardData:
        if self._aside is None:
            # Most processes of most installations are never asked for it.
            self._aside = Aside("dashboard")
        try:
            numbers, recent = await self._aside.run(self._read_aside)
        except FeatureStoreError as error:
            raise UnavailableError(
                "store_unavailable",
                wanted="the windows of the online store",
                got=str(error),
                next_step="suggestions go on without it; look at the store's log if it stays away",
                retry_after_s=self._retry_after_s,
            ) from error
        return DashboardData(
            at_ms=numbers.at_ms,
            products_known=len(self._catalog),
            kinds=numbers.kinds,
            top=self._shown(numbers.top),
            rising=self._shown(numbers.rising),
            placements=numbers.placements,
            freshness=numbers.freshness,
            answers=recent.times,
            served_by=recent.served_by,
        )

    async def _read_aside(self) -> tuple[DashboardNumbers, Any]:
        if self._store is None:
            self._store = self._open_store()
        numbers = await dashboard_numbers(self._store, time.time_ns() // 1_000_000)
        return numbers, self._recent.read()

    def _shown(self, products: Sequence[ProductViews]) -> tuple[ShownProduct, ...]:
        return tuple(
            ShownProduct(
                product.item_id,
                product.views_1h,
                product.change,
                product.adds_1h,
                product.purchases_1h,
                self._catalog.properties(product.item_id, _SHOWN) or {},
            )
            for product in products
        )
