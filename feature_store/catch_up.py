"""Read partitions again whose records a store may have lost: from a checkpoint, or from the beginning of the log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import structlog
from prometheus_client import Counter

from feature_store import keys
from feature_store.online_store import Checkpoint, OnlineStore, StoreIdentity
from feature_store.placing import applicable_events
from feature_store.record_updater import RecordUpdater
from feature_store.settings import WorkerSettings
from feature_store.touch_gathering import PlacedEvent
from ingest.bus.contract import Bus, Start
from ingest.dedup import Deduplicated, read_deduplicated
from ingest.settings import DedupSettings
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS

_READ_AGAIN = Counter("afterclick_feature_store_events_read_again_total", "Events read again after the store changed")
_LEASE_POLL_S = 0.1
_log = structlog.get_logger("feature_store")


class CatchUp:
    """Brings each partition to the end of its log under the present run of the store.

    While a partition is behind, the store refuses ordinary writes to it: a record that lost events must not get a later
    position. Any number of workers may read a partition again at once, each from a place before the loss, since a
    record skips what it has; the lease only spares them the double work.
    """

    def __init__(
        self,
        bus: Bus,
        store: OnlineStore,
        updater: RecordUpdater,
        settings: WorkerSettings,
        dedup: DedupSettings,
        *,
        worker: str,
        tombstones: Tombstones | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._updater = updater
        self._settings = settings
        self._dedup = dedup
        self._worker = worker
        self._tombstones = tombstones

    async def run(self, *, partitions: int, identity: StoreIdentity, stop: asyncio.Event) -> int:
        """Return when no partition is behind, or `stop` is set; how many events this reader applied.

        Raises:
            BusUnavailableError, StoreUnavailableError, StoreChangedError: call it again, it goes on.
        """
        events = 0
        while not stop.is_set():
            checkpoints = await self._store.checkpoints(range(partitions))
            behind = [p for p, found in enumerate(checkpoints) if found is None or found.run_id != identity.run_id]
            if not behind:
                break
            mine = [partition for partition in behind if await self._lease(partition)]
            for partition in mine:
                events += await self._read_again(partition, checkpoints[partition], identity, stop)
            if not mine:
                await asyncio.sleep(_LEASE_POLL_S)
        return events

    async def _read_again(
        self, partition: int, checkpoint: Checkpoint | None, identity: StoreIdentity, stop: asyncio.Event
    ) -> int:
        accepted_at_ms = 0 if checkpoint is None else checkpoint.accepted_at_ms
        start_ms = max(0, accepted_at_ms - self._settings.store_loss_window_ms)
        start: Start = "earliest" if checkpoint is None else start_ms
        events = 0
        batch: list[Deduplicated] = []
        reading = read_deduplicated(
            self._bus,
            EVENTS,
            partition,
            settings=self._dedup,
            start=start,
            until_now=True,
            tombstones=self._tombstones,
        )
        async with aclosing(cast("AsyncGenerator[Deduplicated, None]", reading)) as deliveries:
            async for survivors in deliveries:
                batch.append(survivors)
                accepted_at_ms = max(accepted_at_ms, survivors.delivery.accepted_at_ms)
                if sum(len(held.events) for held in batch) >= self._settings.batch_events_max:
                    events += await self._apply(partition, batch, identity)
                    batch.clear()
                if stop.is_set():
                    return events
        events += await self._apply(partition, batch, identity)
        await self._store.write_checkpoints({partition: accepted_at_ms}, identity=identity, catching_up=True)
        if events:
            _log.info("read a partition again", partition=partition, start=start, events=events)
        return events

    async def _apply(self, partition: int, batch: list[Deduplicated], identity: StoreIdentity) -> int:
        # What cannot be applied was told when it first came, or is when the subscription brings it.
        placed: list[PlacedEvent] = []
        for survivors in batch:
            placed += applicable_events(survivors, future_ms_max=self._settings.future_ms_max).placed
        if placed:
            await self._updater.apply_apart(placed, identity=identity, catching_up=True)
            _READ_AGAIN.inc(len(placed))
        await self._lease(partition)
        return len(placed)

    async def _lease(self, partition: int) -> bool:
        """Take or renew the lease on reading `partition` again; advice only."""
        key = keys.catch_up_lease_key(partition)
        lease_ms = self._settings.catch_up_lease_ms
        _, holder = await self._store.send([("SET", key, self._worker, "NX", "PX", lease_ms), ("GET", key)])
        if holder != self._worker.encode():
            return False
        await self._store.send([("PEXPIRE", key, lease_ms)])
        return True
