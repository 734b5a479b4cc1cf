"""Items that are clicked before the catalogue has heard of them."""

import asyncio

from api.items_from_clicks import ItemsFromClicks
from ingest.collector import Collector
from ingest.settings import CollectorSettings
from tests.integration.serving.serving_tools import KEYS, Server, event


async def test_a_clicked_stranger_becomes_a_product_and_a_known_item_stays_as_it_is(server: Server) -> None:
    await server.put({"item_id": "mug", "title": "The shop's own word"})
    newcomers = ItemsFromClicks(server.bus, server.catalog, per_minute_max=3)
    collector = Collector(
        server.bus, CollectorSettings(), KEYS.visitor_secret_bytes, lambda: event()["timestamp"], tell=newcomers
    )
    stop = asyncio.Event()
    making = asyncio.create_task(newcomers.run(stop))

    items = [{"item_id": "mug"}, {"item_id": "pot", "item_name": "Pot", "price": 9.5}]
    items += [{"item_id": f"flood-{number}"} for number in range(10)]
    body = event(items=items, currency="EUR")
    reply = await collector.accept(
        server.client.build_request("POST", "/", json=body).content,
        content_type="application/json",
        received_at_ms=body["timestamp"],
    )
    async with asyncio.timeout(30):
        while server.catalog.get("flood-1") is None:
            await asyncio.sleep(0.02)
    stop.set()
    await making
    await collector.close()

    pot, mug = server.catalog.get("pot"), server.catalog.get("mug")
    assert reply.status == 202
    assert pot is not None
    assert (pot.title, pot.price, pot.currency) == ("Pot", 9.5, "EUR")
    assert mug is not None
    assert mug.title == "The shop's own word"
    assert len(server.catalog) == 4
