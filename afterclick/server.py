"""Wire the server process: collector, online store, recommender, catalogue and routes around one event loop."""

import asyncio
import time

from afterclick.kernels import compile_all
from afterclick.settings import Settings
from api.app import build_app
from api.catalog_table import CatalogTable
from api.items_from_clicks import ItemsFromClicks
from api.keys import load_or_make_keys
from api.server import listening_socket, serve
from api.services import Services
from feature_store.known_person import KnownPersons
from feature_store.online_features import OnlineFeatures
from feature_store.online_store import OnlineStore
from feature_store.visitor_reader import VisitorReader
from ingest.attribution import Names
from ingest.bus import Bus
from ingest.collector import Collector
from ingest.snippet import snippet_script
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
from recommender.model_follower import ModelFollower
from recommender.recommender import Recommender


async def run_server(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """Serve until `stop`, then drain."""
    # Before anybody is answered: the first visitor's record and ranking would else wait for kernels to be loaded.
    await asyncio.to_thread(compile_all)
    keys, _ = load_or_make_keys(settings.data_dir)
    store = OnlineStore(settings.system.store, settings.store)
    names = Names()
    archive = Archive(settings.archive.url or str(settings.archive_dir), dict(settings.archive.options))
    recommender, catalog = _recommender_and_catalog(settings)
    newcomers = ItemsFromClicks(bus, catalog, per_minute_max=settings.api.items_from_clicks_per_minute_max)
    tell = newcomers if settings.api.items_from_clicks else None
    collector = Collector(bus, settings.collector, keys.visitor_secret_bytes, _now_ms, names, tell)
    follower = ModelFollower(bus, recommender, settings.model_dir)
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
        open_store=lambda: OnlineStore(settings.system.store, settings.store),
        bus=bus,
        keys=keys,
        snippet=snippet_script(),
        merchandising=MerchandisingLog(bus, Ledger(KINDS)),
        count_outcomes=lambda experiment: count_outcomes(OutcomesJob(archive, experiment)),
        count_clicks=lambda placement, since_ms: count_clicks(ClickCountsJob(archive, placement, since_ms)),
        count_earned=lambda by, from_ms, until_ms: count_earned(EarnedJob(archive, by, from_ms, until_ms)),
        names=names,
        checks={"bus": bus.alive},
        required=frozenset({"bus"}),
        background=(follower.run, newcomers.run) if tell is not None else (follower.run,),
    )
    try:
        await serve(
            build_app(services, settings.api),
            settings.api,
            stop=stop,
            listener=listening_socket(settings.api.host, settings.api.port),
        )
    finally:
        await collector.close()
        await store.close()


def _recommender_and_catalog(settings: Settings) -> tuple[Recommender, CatalogTable]:
    """Each needs the other: the table says what is available, the recommender fills up from the table."""
    tables: list[CatalogTable] = []
    recommender = Recommender(settings.recommender, extra_candidates=lambda: tables[0].available_ids())
    tables.append(CatalogTable(recommender.describe))
    return recommender, tables[0]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
