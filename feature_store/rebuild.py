"""Make the online store anew from the log: wipe it, then read every partition from its beginning, archive included."""

import asyncio
import secrets

from feature_store.catch_up import CatchUp
from feature_store.online_store import OnlineStore
from feature_store.record_updater import RecordUpdater
from feature_store.settings import WorkerSettings
from ingest.bus.contract import Bus
from ingest.settings import DedupSettings
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS


async def rebuild_online_store(
    bus: Bus,
    store: OnlineStore,
    settings: WorkerSettings | None = None,
    *,
    dedup: DedupSettings | None = None,
    stop: asyncio.Event | None = None,
) -> int:
    """Wipe `store` and fill it through the same window code; returns how many events were applied.

    Workers may go on running: the store refuses their writes to a partition until it has been read again. What the bus
    no longer holds is read from the archive, which the bus goes on in. Killed half-way, it is simply run again, or a
    worker finishes it.

    Raises:
        BusUnavailableError, StoreUnavailableError: half-way; run it again.
    """
    settings = settings or WorkerSettings()
    log_id, partitions = await bus.log_id(EVENTS), await bus.partitions(EVENTS)
    await store.wipe()
    identity = await store.identify()
    await store.claim(log_id=log_id, partitions=partitions)
    updater = RecordUpdater(store, settings, log_id=log_id)
    tombstones = await Tombstones.open(bus, reader="rebuild")
    catch_up = CatchUp(
        bus,
        store,
        updater,
        settings,
        dedup or DedupSettings(),
        worker=f"rebuild-{secrets.token_hex(3)}",
        tombstones=tombstones,
    )
    try:
        return await catch_up.run(partitions=partitions, identity=identity, stop=stop or asyncio.Event())
    finally:
        await tombstones.close()
