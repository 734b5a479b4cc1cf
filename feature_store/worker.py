"""The feature worker: `events` to windows in the online store, each event in effect exactly once."""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import structlog
from prometheus_client import Counter, Histogram

from feature_store.anomaly_watch import AnomalyWatch
from feature_store.catch_up import CatchUp
from feature_store.erasure import forget_visitors
from feature_store.errors import EventRefusedError, StoreChangedError, StoreConflictError, StoreUnavailableError
from feature_store.freshness import FreshnessHistogram, ViewFreshness, drop_stale_workers
from feature_store.online_store import OnlineStore, StoreIdentity
from feature_store.placing import LATE, Applicable, Refusal, applicable_events
from feature_store.record_updater import RecordUpdater
from feature_store.refusals import publish_refusals
from feature_store.registry import REGISTRY
from feature_store.settings import WorkerSettings
from feature_store.store_health import StoreHealth
from feature_store.touch_gathering import PlacedEvent
from ingest.bus.contract import Bus
from ingest.dedup import Deduplicated, DeduplicatedSubscription, subscribe_deduplicated
from ingest.errors import BusUnavailableError
from ingest.settings import DedupSettings
from ingest.task_ending import end_tasks
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS

SUBSCRIPTION = "features"

_APPLIED = Counter("afterclick_feature_store_events_applied_total", "Events whose records were brought up to date")
_WAITS = Counter("afterclick_feature_store_waits_total", "Pauses because a dependency did not answer", ["dependency"])
_FRESHNESS = Histogram(
    "afterclick_feature_store_freshness_seconds",
    "From the collector to the written records, of up to 64 events a batch",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.06, 0.1, 0.25, 1, 5, 60),
)
_FRESHNESS_SAMPLE = 64
_log = structlog.get_logger("feature_store")


async def run_worker(
    bus: Bus,
    store: OnlineStore,
    settings: WorkerSettings,
    stop: asyncio.Event,
    *,
    dedup: DedupSettings | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Apply `events` to the online store until `stop` is set; waits while bus or store are down.

    Raises:
        StoreMismatchError, RecordFormatError: the store holds another log's records; nothing was written.
    """
    worker = FeatureWorker(bus, store, settings, dedup or DedupSettings(), now_ms=now_ms)
    await worker.run(stop)


class FeatureWorker:
    """One worker; any number may run, the bus shares the partitions out among them."""

    def __init__(
        self, bus: Bus, store: OnlineStore, settings: WorkerSettings, dedup: DedupSettings, *, now_ms: Callable[[], int]
    ) -> None:
        self._bus = bus
        self._store = store
        self._settings = settings
        self._dedup = dedup
        self._now_ms = now_ms
        self._name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
        self._freshness = FreshnessHistogram(self._name)
        self._views = ViewFreshness(REGISTRY)
        self._health = StoreHealth()
        self._watch = AnomalyWatch(bus, store, settings, worker=self._name, now_ms=now_ms)
        self._identity: StoreIdentity | None = None
        self._updater: RecordUpdater | None = None
        self._epochs: dict[int, tuple[int, int]] = {}
        self._checkpointed_at_ms: dict[int, int] = {}
        self._tombstones: Tombstones | None = None
        self._to_forget: list[bytes] = []

    async def run(self, stop: asyncio.Event) -> None:
        """As `run_worker`."""
        subscription: DeduplicatedSubscription | None = None
        pause_ms = self._settings.backoff_ms_min
        held: list[Deduplicated] = []
        watching = asyncio.create_task(self._watch.run(stop), name="watch")
        watching.add_done_callback(_report_end)
        try:
            while not stop.is_set():
                try:
                    identity, updater = await self._ready(stop)
                    if subscription is None:
                        subscription = await self._subscribe()
                    await self._forget_erased()
                    if not held:
                        held = await self._receive(subscription)
                    await self._take(held, subscription, identity, updater)
                    held, pause_ms = [], self._settings.backoff_ms_min
                except StoreChangedError as error:
                    _log.warning("the online store changed; reading again what it may have lost", reason=str(error))
                    self._identity = None
                except (StoreUnavailableError, StoreConflictError, BusUnavailableError) as error:
                    await self._pause(error, pause_ms, stop)
                    pause_ms = min(2 * pause_ms, self._settings.backoff_ms_max)
        finally:
            await end_tasks(watching)
            if subscription is not None:
                await self._leave(subscription)
            if self._tombstones is not None:
                await self._tombstones.close()

    async def _ready(self, stop: asyncio.Event) -> tuple[StoreIdentity, RecordUpdater]:
        """The store as known; when it is another one, every partition it may have lost is read again first."""
        if self._identity is not None and self._updater is not None:
            return self._identity, self._updater
        log_id, partitions = await self._bus.log_id(EVENTS), await self._bus.partitions(EVENTS)
        if self._tombstones is None:
            self._tombstones = await Tombstones.open(self._bus, reader=SUBSCRIPTION)
        identity = await self._store.identify()
        await self._store.claim(log_id=log_id, partitions=partitions)
        if self._updater is None:
            self._updater = RecordUpdater(self._store, self._settings, log_id=log_id)
            await drop_stale_workers(self._store, now_ms=self._now_ms())
        await self._updater.restore_ids(identity=identity)
        self._updater.forget()
        self._checkpointed_at_ms.clear()
        catch_up = CatchUp(
            self._bus,
            self._store,
            self._updater,
            self._settings,
            self._dedup,
            worker=self._name,
            tombstones=self._tombstones,
        )
        await catch_up.run(partitions=partitions, identity=identity, stop=stop)
        self._identity = identity
        return identity, self._updater

    async def _subscribe(self) -> DeduplicatedSubscription:
        return await subscribe_deduplicated(
            self._bus,
            EVENTS,
            SUBSCRIPTION,
            settings=self._dedup,
            consumer=self._name,
            tombstones=self._tombstones,
        )

    async def _forget_erased(self) -> None:
        """Delete what may have been written, from events on their way, after the erasure had deleted it."""
        if self._tombstones is not None:
            self._to_forget += await self._tombstones.refresh()
        if self._to_forget:
            await forget_visitors(self._store, self._to_forget)
            self._to_forget.clear()

    async def _leave(self, subscription: DeduplicatedSubscription) -> None:
        try:
            async with asyncio.timeout(self._settings.close_ms_max / 1000):
                await subscription.close()
        except (TimeoutError, BusUnavailableError) as error:
            _log.warning("the bus did not take the partitions back", reason=str(error) or "no answer in time")

    async def _receive(self, subscription: DeduplicatedSubscription) -> list[Deduplicated]:
        return await subscription.receive(
            wait_ms=self._settings.receive_wait_ms, entries_max=self._settings.batch_events_max
        )

    async def _take(
        self,
        held: Sequence[Deduplicated],
        subscription: DeduplicatedSubscription,
        identity: StoreIdentity,
        updater: RecordUpdater,
    ) -> None:
        """Apply what was received, then acknowledge it: a crash between the two repeats it, which changes nothing."""
        await self._health.note(self._store, now_ms=self._now_ms())
        self._views.tell(now_ms=self._now_ms())
        if not held:
            await self._freshness.flush(self._store, now_ms=self._now_ms())
            return
        self._note_epochs(held, updater)
        found = [applicable_events(survivors, future_ms_max=self._settings.future_ms_max) for survivors in held]
        placed = [event for applicable in found for event in applicable.placed]
        broken = await updater.apply_apart(placed, identity=identity)
        await self._refuse(held, found, broken)
        self._measure(placed)
        await self._checkpoint(held, identity)
        for survivors in {survivors.delivery.partition: survivors for survivors in held}.values():
            await subscription.acknowledge(survivors.delivery)
        LATE.inc(sum(applicable.late_count for applicable in found))
        _APPLIED.inc(len(placed) - len(broken))
        await self._freshness.flush(self._store, now_ms=self._now_ms())

    def _note_epochs(self, held: Sequence[Deduplicated], updater: RecordUpdater) -> None:
        for survivors in held:
            delivery = survivors.delivery
            place = (delivery.log_id, delivery.epoch)
            if self._epochs.get(delivery.partition) != place:
                self._epochs[delivery.partition] = place
                updater.forget_partition(delivery.partition)

    async def _refuse(
        self,
        held: Sequence[Deduplicated],
        found: Sequence[Applicable],
        broken: Sequence[tuple[PlacedEvent, EventRefusedError]],
    ) -> None:
        refused = [refusal for applicable in found for refusal in applicable.refused]
        if broken:
            entries = {(s.delivery.partition, entry.position): entry for s in held for entry in s.entries}
            refused += [Refusal(entries[e.partition, e.position], e.partition, error) for e, error in broken]
        if refused:
            await publish_refusals(self._bus, refused, now_ms=self._now_ms())

    def _measure(self, placed: Sequence[PlacedEvent]) -> None:
        if not placed:
            return
        now_ms = self._now_ms()
        ages_ms = now_ms - np.array([event.received_at_ms for event, _, _ in placed], dtype=np.int64)
        self._freshness.observe(ages_ms, now_ms=now_ms)
        for age_ms in ages_ms[:: -(-len(ages_ms) // _FRESHNESS_SAMPLE)].tolist():
            _FRESHNESS.observe(age_ms / 1000)
        self._views.applied({event.event: event.received_at_ms for event, _, _ in placed})
        self._views.tell(now_ms=now_ms)
        self._watch.note_prices([event for event, _, _ in placed])

    async def _checkpoint(self, held: Sequence[Deduplicated], identity: StoreIdentity) -> None:
        """Once a second; an older checkpoint only means that more is read again."""
        now_ms = self._now_ms()
        due = {
            survivors.delivery.partition: survivors.delivery.accepted_at_ms
            for survivors in held
            if now_ms - self._checkpointed_at_ms.get(survivors.delivery.partition, 0) >= self._settings.checkpoint_ms
        }
        if due:
            await self._store.write_checkpoints(due, identity=identity, catching_up=False)
            self._checkpointed_at_ms.update(dict.fromkeys(due, now_ms))

    async def _pause(self, error: Exception, pause_ms: int, stop: asyncio.Event) -> None:
        dependency = "bus" if isinstance(error, BusUnavailableError) else "store"
        _WAITS.labels(dependency).inc()
        _log.warning("waiting", dependency=dependency, pause_ms=pause_ms, reason=str(error))
        await _wait(stop.wait(), pause_ms)


def _report_end(task: "asyncio.Task[None]") -> None:
    """The worker goes on without its watch; somebody has to know."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the watch of the stream died", exc_info=error)


async def _wait(waiting: Awaitable[object], timeout_ms: int) -> None:
    try:
        await asyncio.wait_for(waiting, timeout_ms / 1000)
    except TimeoutError:
        return
