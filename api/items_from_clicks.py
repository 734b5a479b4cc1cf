"""Make products of items that are clicked before the catalogue has heard of them, if the settings say so."""

import asyncio
from collections.abc import Sequence

import msgspec
from prometheus_client import Counter

from api.catalog_table import CatalogTable
from ingest.bus.contract import Bus, Record
from ingest.catalog import Product
from ingest.errors import BusError
from ingest.events import Event
from ingest.topics import CATALOG

_MADE = Counter("afterclick_api_items_from_clicks_total", "Items clicked before the catalogue knew them", ["outcome"])
_TELLING = frozenset({"view_item", "add_to_cart", "purchase", "select_item"})
_FLUSH_S = 0.2
_MINUTE_S = 60.0


class ItemsFromClicks:
    """Takes accepted events, publishes products for what nobody described; what the shop tells later replaces them.

    Args:
        per_minute_max: further new items are left out and counted: the write key sits in a page, and whoever has it
            could else fill the catalogue.
    """

    def __init__(self, bus: Bus, catalog: CatalogTable, *, per_minute_max: int) -> None:
        self._bus = bus
        self._catalog = catalog
        self._per_minute_max = per_minute_max
        self._waiting: dict[str, Product] = {}
        self._made = 0
        self._minute = 0

    def __call__(self, events: Sequence[Event]) -> None:
        """Look at events that were accepted; never waits."""
        for event in events:
            for item in event.items if event.event in _TELLING else ():
                if self._catalog.get(item.item_id) is not None or item.item_id in self._waiting:
                    continue
                if self._made >= self._per_minute_max:
                    _MADE.labels("left_out").inc()
                    continue
                self._made += 1
                self._waiting[item.item_id] = Product(
                    item.item_id,
                    (item.item_name or "")[:512],
                    item.price,
                    event.currency if item.price is not None else None,
                    item.item_category[:256] if item.item_category else None,
                    item.item_brand[:128] if item.item_brand else None,
                )

    async def run(self, stop: asyncio.Event) -> None:
        """Publish what waits, five times a second, until `stop`."""
        stopped = asyncio.create_task(stop.wait())
        clock = asyncio.get_running_loop().time
        try:
            while not stop.is_set():
                await asyncio.wait({stopped}, timeout=_FLUSH_S)
                if int(clock() / _MINUTE_S) != self._minute:
                    self._minute, self._made = int(clock() / _MINUTE_S), 0
                if self._waiting and self._catalog.ready:
                    await self._publish()
        finally:
            stopped.cancel()

    async def _publish(self) -> None:
        # Another process, or the shop, may have described it by now.
        waiting = [product for item_id, product in self._waiting.items() if self._catalog.get(item_id) is None]
        records = [Record(product.item_id.encode(), msgspec.json.encode(product)) for product in waiting]
        verdicts = await self._bus.publish(CATALOG, records) if records else []
        taken = [p for p, verdict in zip(waiting, verdicts, strict=True) if not isinstance(verdict, BusError)]
        _MADE.labels("made").inc(len(taken))
        # What the bus did not take comes again with the item's next click.
        self._waiting.clear()
