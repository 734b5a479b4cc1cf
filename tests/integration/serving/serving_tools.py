"""A whole server on a real embedded bus and a real online store; requests go straight into the ASGI application."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from afterclick.valkey_server import ValkeyServer
from api.app import build_app
from api.catalog_table import CatalogTable
from api.keys import Keys
from api.services import Services
from api.settings import ApiSettings
from feature_store.known_person import KnownPersons
from feature_store.online_features import OnlineFeatures
from feature_store.online_store import OnlineStore
from feature_store.visitor_reader import VisitorReader
from ingest.attribution import Names
from ingest.bus import Bus, open_bus
from ingest.collector import Collector
from ingest.settings import CollectorSettings
from ingest.topics import ALL_TOPICS
from recommender.archive_counting import (
    Archive,
    ClickCountsJob,
    EarnedJob,
    OutcomesJob,
    count_clicks,
    count_earned,
    count_outcomes,
)
from recommender.merchandising import Ledger, MerchandisingLog
from recommender.merchandising.kinds import KINDS
from recommender.recommender import Recommender
from recommender.settings import RecommenderSettings

KEYS = Keys("wk_test_0123456789", "sk_test_0123456789", "ab" * 32)
WRITE = {"X-Afterclick-Key": KEYS.write_key}
SECRET = {"Authorization": f"Bearer {KEYS.secret_key}"}
SHOP = "https://shop.example"


@dataclass
class Server:
    app: Starlette
    client: httpx.AsyncClient
    bus: Bus
    bus_server: ValkeyServer
    store_server: ValkeyServer
    recommender: Recommender
    catalog: CatalogTable
    archive: Path

    def pause_store(self) -> None:
        assert self.store_server.pid is not None
        os.kill(self.store_server.pid, signal.SIGSTOP)

    def resume_store(self) -> None:
        assert self.store_server.pid is not None
        os.kill(self.store_server.pid, signal.SIGCONT)

    async def put(self, *products: dict[str, Any]) -> httpx.Response:
        return await self.client.post("/v1/catalog", json=list(products), headers=SECRET)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "message_id": "0123456789abcdef",
        "event": "view_item",
        "anonymous_id": "browser-1",
        "timestamp": time.time_ns() // 1_000_000,
        "items": [{"item_id": "mug"}],
    } | fields


@asynccontextmanager
async def serving(
    bus_server: ValkeyServer, store_server: ValkeyServer, *, settings: ApiSettings
) -> AsyncIterator[Server]:
    archive = bus_server.data_dir.parent / "archive"
    place = Archive(str(archive))
    bus = await open_bus(bus_server.url)
    await bus.ensure(ALL_TOPICS, partitions=2)
    store = OnlineStore(store_server.url)
    recommender = Recommender(RecommenderSettings(), extra_candidates=lambda: catalog.available_ids())
    catalog = CatalogTable(recommender.describe)
    names = Names()
    collector = Collector(
        bus, CollectorSettings(), KEYS.visitor_secret_bytes, lambda: time.time_ns() // 1_000_000, names
    )
    visitors = VisitorReader(store)
    services = Services(
        accept=collector.accept,
        read_history=visitors.history,
        read_features=OnlineFeatures(store, visitors).read,
        person=KnownPersons(bus, store, visitors),
        rank=recommender.recommend,
        why_not=recommender.why_not,
        use_rules=recommender.use_rules,
        preview=recommender.preview,
        rerank=recommender.rerank,
        similar=recommender.similar,
        catalog=catalog,
        open_store=lambda: OnlineStore(store_server.url),
        bus=bus,
        keys=KEYS,
        snippet=b"/* snippet */",
        merchandising=MerchandisingLog(bus, Ledger(KINDS)),
        count_outcomes=lambda experiment: count_outcomes(OutcomesJob(place, experiment)),
        count_clicks=lambda placement, since_ms: count_clicks(ClickCountsJob(place, placement, since_ms)),
        count_earned=lambda by, from_ms, until_ms: count_earned(EarnedJob(place, by, from_ms, until_ms)),
        names=names,
        checks={"bus": bus.alive},
    )
    app = build_app(services, settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as client,
    ):
        await until_ready(client)
        yield Server(app, client, bus, bus_server, store_server, recommender, catalog, archive)
    await collector.close()
    await bus.close()
    await store.close()


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.01)
