"""The catalogue as every API process holds it: a table of products that follows the topic `catalog`."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from ingest.bus.contract import Bus, Entry
from ingest.catalog import Product
from ingest.errors import BusError
from ingest.topics import CATALOG

SHOWN_PROPERTIES = ("title", "price", "currency", "image", "url")
"""What `return_properties` gives when nobody says which."""

Property = Literal["title", "price", "currency", "category", "brand", "image", "url", "availability", "margin"]
"""Every fact of a product but its id; the test of the description holds it against `Product`."""

PROPERTIES: tuple[str, ...] = get_args(Property)

_PRODUCTS = Gauge("afterclick_api_catalog_products", "Products in the table", multiprocess_mode="max")
_UNREADABLE = Counter("afterclick_api_catalog_entries_unreadable_total", "Entries of `catalog` that are no product")
_LOST = Counter("afterclick_api_catalog_follow_lost_total", "Times the table lost the bus and began again")

_SLICE_ENTRIES = 20
_WAIT_MS = 1_000
_FIRST_WAIT_MS = 20
_RETRY_S = 0.5

Describe = Callable[[str, Product | None], None]
"""Tell the recommender what is said of an item from now on; None: nothing any more."""

log = structlog.get_logger()
_decoder = msgspec.json.Decoder(Product)


class CatalogTable:
    """Products by item id. Its only writer is the topic, so that every process holds the same.

    Args:
        describe: called for each change, also for a deletion (an unknown item is eligible).
    """

    def __init__(self, describe: Describe) -> None:
        self._products: dict[str, Product] = {}
        self._describe = describe
        self._changed = asyncio.Event()
        self.ready = False
        """Has the topic been read to its present end once?"""

    def __len__(self) -> int:
        return len(self._products)

    def get(self, item_id: str) -> Product | None:
        """What is known of an item."""
        return self._products.get(item_id)

    def eligible(self, item_id: str) -> bool:
        """May it be suggested? An item nobody described may."""
        product = self._products.get(item_id)
        return product is None or product.available

    def available_ids(self) -> Iterator[str]:
        """Every item that may be suggested, in the order the catalogue named them."""
        return (item_id for item_id, product in self._products.items() if product.available)

    def properties(self, item_id: str, names: Sequence[str]) -> dict[str, Any] | None:
        """Those facts of `names` that are known; None for an unknown item."""
        product = self._products.get(item_id)
        if product is None:
            return None
        return {name: value for name in names if (value := getattr(product, name)) not in (None, "")}

    def apply(self, entries: Iterable[Entry]) -> None:
        """Take changes over, in order."""
        for entry in entries:
            item_id = entry.key.decode("utf-8", "replace")
            if entry.payload is None:
                self._products.pop(item_id, None)
                self._describe(item_id, None)
                continue
            try:
                product = _decoder.decode(entry.payload)
            except msgspec.DecodeError:
                _UNREADABLE.inc()
                continue
            self._products[item_id] = product
            self._describe(item_id, product)
        _PRODUCTS.set(len(self._products))
        self._changed.set()

    async def holds(self, products: Sequence[Product], *, within_s: float) -> bool:
        """Wait until the table shows all of `products`; False when time runs out (something newer may hide them)."""
        awaited = list({product.item_id: product for product in products}.values())
        shown = 0
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._changed.clear()
                    while shown < len(awaited) and self._products.get(awaited[shown].item_id) == awaited[shown]:
                        shown += 1
                    if shown == len(awaited):
                        return True
                    await self._changed.wait()
        except TimeoutError:
            return False

    async def follow(self, bus: Bus) -> None:
        """Read the topic and keep up with it until cancelled; a bus that is away is waited for."""
        while True:
            try:
                await self._follow_once(bus)
            except BusError as error:
                _LOST.inc()
                log.warning("catalogue table lost the bus", error=str(error))
                await asyncio.sleep(_RETRY_S)

    async def _follow_once(self, bus: Bus) -> None:
        table = await bus.table(CATALOG)
        try:
            while True:
                # The first wait is short: in an empty shop there is nothing to be ready for.
                changes = await table.changes(wait_ms=_WAIT_MS if self.ready else _FIRST_WAIT_MS)
                for start in range(0, len(changes), _SLICE_ENTRIES):
                    self.apply(changes[start : start + _SLICE_ENTRIES])
                    # Requests go between the slices; 20 products take 0.3 ms: facts, columns, and what is like what.
                    await asyncio.sleep(0)
                self.ready = True
        finally:
            await table.close()
