"""One process of the system: `python -m afterclick.parts NAME SETTINGS.json`; the supervisor starts these."""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from afterclick.logs import configure_logs
from afterclick.run import finished_before, stop_on_signals
from afterclick.settings import Settings
from feature_store.parity_watch import ParityReport
from ingest.archive_below import archived_below
from ingest.bus import Bus, open_bus
from ingest.bus.late import LateBus
from ingest.errors import BusError
from ingest.settings import Settings as IngestSettings
from ingest.task_ending import end_tasks
from ingest.topics import ALL_TOPICS

log = structlog.get_logger()

RunPart = Callable[[Settings, Bus, asyncio.Event], Awaitable[None]]


async def run_worker(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """The feature worker."""
    from feature_store.kernels import compile_all
    from feature_store.online_store import OnlineStore
    from feature_store.worker import run_worker as run

    await asyncio.to_thread(compile_all)
    settle_garbage()
    store = OnlineStore(settings.system.store, settings.store)
    try:
        await run(bus, store, settings.worker, stop, dedup=settings.dedup)
    finally:
        await store.close()


async def run_archive(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """The archive, and the check of the online store against it."""
    from afterclick.parity_process import check_apart
    from feature_store.parity_watch import watch_parity
    from ingest.archive import run_archive as run

    async def check(turn: int) -> ParityReport:
        return await check_apart(settings.run_dir / "settings.json", turn, within_ms=settings.parity.every_ms)

    watching = asyncio.create_task(watch_parity(check, settings.parity, stop))
    try:
        ingest = IngestSettings(settings.collector, settings.dedup, settings.archive)
        await run(bus, ingest, settings.open_archive(), stop)
    finally:
        await end_tasks(watching)


async def run_learner(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """The learner."""
    from recommender.learner import run_learner as run

    await run(
        bus,
        settings.learner,
        stop,
        model_dir=settings.model_dir,
        archive_dir=settings.open_archive(),
        dedup=settings.dedup,
    )


async def run_server(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """Collector, recommendations and dashboard."""
    from afterclick.server import run_server as run

    await run(settings, bus, stop)


async def run_engagements(settings: Settings, bus: Bus, stop: asyncio.Event) -> None:
    """The triggers, and the webhook where there is one."""
    from api.webhooks import run_webhooks
    from feature_store.online_store import OnlineStore
    from feature_store.visitor_reader import VisitorReader
    from recommender.history import History
    from recommender.triggers import run_triggers

    store = OnlineStore(settings.system.store, settings.store)
    reader = VisitorReader(store)

    async def history(visitor: bytes, deadline_ms: float) -> History:
        return History(*await reader.history(visitor, deadline_ms))

    running = [run_triggers(bus, store, history, settings.triggers, stop, dedup=settings.dedup)]
    if settings.webhook.url:
        running.append(run_webhooks(bus, settings.webhook, stop))
    try:
        await asyncio.gather(*running)
    finally:
        await store.close()


def settle_garbage() -> None:
    """Keep what is there at the start out of the collector's way, and let it look at more at a time.

    A batch makes some ten thousand short-lived tuples: with the defaults each is looked at, and now and then every
    object of the process is, which took a fifth of the worker's time in a trial.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


PARTS: dict[str, RunPart] = {
    "worker": run_worker,
    "archive": run_archive,
    "learner": run_learner,
    "server": run_server,
    "engagements": run_engagements,
}


async def main(name: str, settings: Settings) -> None:
    """Run one part until SIGTERM. A server serves while the bus is away; the others have nothing to do without it."""
    stop = stop_on_signals()
    bus = LateBus(lambda: _open(settings))
    try:
        if name == "server" or await finished_before(asyncio.create_task(bus.connected()), stop):
            await PARTS[name](settings, bus, stop)
    finally:
        await bus.close()


async def _open(settings: Settings) -> Bus:
    bus = await open_bus(settings.system.bus, settings=settings.bus, below=archived_below(settings.open_archive))
    try:
        await bus.ensure(ALL_TOPICS, partitions=settings.system.partitions)
    except BusError:
        await bus.close()
        raise
    return bus


if __name__ == "__main__":
    import uvloop

    configure_logs(for_a_person=False)
    started_s = time.monotonic()
    uvloop.run(main(sys.argv[1], msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Settings)))
    log.info("stopped", part=sys.argv[1], after_s=round(time.monotonic() - started_s, 1))
