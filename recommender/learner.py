"""Follow `events`, learn from each, tell the replicas, write the state down, and refit in the background."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ingest.archive_place import ArchivePlace
from ingest.bus.contract import Bus
from ingest.dedup import Deduplicated, DeduplicatedSubscription, subscribe_deduplicated
from ingest.errors import BusUnavailableError
from ingest.settings import DedupSettings
from ingest.task_ending import end_tasks
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS, MODEL
from recommender.kernels import compile_all
from recommender.learner_checkpoints import Checkpoints, Logs
from recommender.learner_past import learn_archive, learn_missed
from recommender.learner_refits import Refits
from recommender.learner_state import LearnerState
from recommender.learner_teaching import FactorDeltas, publish_learnt
from recommender.model_log import encode_delta
from recommender.model_publisher import ModelPublisher
from recommender.model_version import version_at
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot, newest_snapshot
from recommender.tuned_parameters import tuned_or_none

SUBSCRIPTION = "learner"

_RETRY_S = 0.2
_LOCK_POLL_S = 0.2
_STOP_FLUSH_S = 2.0
_RECEIVE_MS = 1_000
_IDLE_S = 0.05

_bus_lost = Counter("afterclick_recommender_learner_bus_lost_total", "Times the learner found the bus unavailable")
_held_back = Counter(
    "afterclick_recommender_learner_held_back_total", "Times the learner took no events because too many deltas waited"
)
_behind = Gauge(
    "afterclick_recommender_learner_behind_seconds",
    "Age of the newest event when it was learnt",
    multiprocess_mode="max",
)
_log = structlog.get_logger(__name__)


async def run_learner(
    bus: Bus,
    settings: LearnerSettings,
    stop: asyncio.Event,
    *,
    model_dir: Path,
    archive_dir: Path | ArchivePlace,
    dedup: DedupSettings | None = None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Learn until `stop`, then write the state down and return. Killed at any instant, the next start loses nothing.

    A second learner on the same `model_dir` waits until the first is gone: that is the standby.

    Raises:
        OSError: the model folder cannot be written.
    """
    async with _sole_learner(model_dir, stop) as alone:
        if not alone:
            return
        # Its products are small: threads of BLAS would spend ten times the CPU in waiting for each other.
        threadpool_limits(1, user_api="blas")
        await asyncio.to_thread(compile_all)
        logs = Logs(await bus.log_id(EVENTS), await bus.log_id(MODEL))
        snapshot = await asyncio.to_thread(_snapshot_of_this_log, model_dir, logs)
        version = version_at(clock(), after=snapshot.meta.version if snapshot is not None else None)
        state = LearnerState(settings, version, snapshot, tuned=await asyncio.to_thread(tuned_or_none, model_dir))
        tombstones = await Tombstones.open(bus, reader=SUBSCRIPTION)
        for key in tombstones.keys:
            state.forget_visitor(bytes.fromhex(key))
        await _learn_past(state, bus, snapshot, archive_dir, dedup or DedupSettings(), logs, stop, tombstones)
        subscription = await subscribe_deduplicated(
            bus, EVENTS, SUBSCRIPTION, settings=dedup or DedupSettings(), tombstones=tombstones
        )
        publisher = ModelPublisher(bus, pending_max=settings.publish_pending_max)
        learner = _Learner(subscription, tombstones, publisher, state, settings, model_dir, logs, clock)
        try:
            await learner.run(stop)
        finally:
            await subscription.close()
            await tombstones.close()


class _Learner:
    """One life of the learner, from a state to the next."""

    def __init__(
        self,
        subscription: DeduplicatedSubscription,
        tombstones: Tombstones,
        publisher: ModelPublisher,
        state: LearnerState,
        settings: LearnerSettings,
        model_dir: Path,
        logs: Logs,
        clock: Callable[[], int],
    ) -> None:
        self._subscription = subscription
        self._tombstones = tombstones
        self._publisher = publisher
        self._state = state
        self._settings = settings
        self._clock = clock
        self._checkpoints = Checkpoints(model_dir, settings, logs, publisher, subscription)
        self._refits = Refits(settings, model_dir)
        self._factor_deltas = FactorDeltas(settings)
        self._flushed_s = 0.0
        self._receiving: asyncio.Task[list[Deduplicated]] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        self._checkpoints.announce(self._state, self._clock())
        publishing = asyncio.create_task(self._publisher.run())
        try:
            while not stop.is_set():
                if publishing.done():
                    # It ends only by failing: a snapshot could not be written, and so nothing may be announced.
                    publishing.result()
                await self._turn()
            await self._finish(publishing)
        finally:
            await self._refits.cancel()
            await end_tasks(publishing, self._receiving)

    async def _turn(self) -> None:
        if self._publisher.full:
            _held_back.inc()
            await asyncio.sleep(self._settings.publish_ms / 1000)
            return
        await self._take(self._publish_due_s() if self._state.waiting else _IDLE_S)
        # Flushing at most every `publish_ms` packs a busy shop's events; a single click in a quiet one goes at once.
        if self._publish_due_s() == 0:
            self._flush()
            if self._refits.turn(self._state):
                self._factor_deltas.forget()
                self._state.model.version = version_at(self._clock(), after=self._state.model.version)
                self._checkpoints.announce(self._state, self._clock())
        await self._checkpoints.turn(self._state, self._clock())

    def _publish_due_s(self) -> float:
        """How long until the next flush is due; 0 when it is."""
        return max(0.0, self._flushed_s + self._settings.publish_ms / 1000 - time.monotonic())

    async def _take(self, wait_s: float) -> int:
        """Take what is at hand, waiting at most `wait_s` for it; how many deliveries."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive())
        # Not by the subscription's `wait_ms`: Valkey looks at blocked clients ten times a second, so 20 ms become 100.
        await asyncio.wait({self._receiving}, timeout=wait_s)
        if not self._receiving.done():
            return 0
        received = self._receiving.result()
        self._receiving = None
        for deduplicated in received:
            self._state.take(deduplicated)
            self._checkpoints.taken(deduplicated.delivery)
        if received:
            _behind.set(max(0.0, (self._clock() - received[-1].delivery.accepted_at_ms) / 1000))
        return len(received)

    async def _receive(self) -> list[Deduplicated]:
        while True:
            for key in await self._tombstones.refresh():
                self._state.forget_visitor(key)
            try:
                return await self._subscription.receive(
                    wait_ms=_RECEIVE_MS, entries_max=self._settings.receive_entries_max
                )
            except BusUnavailableError as error:
                _bus_lost.inc()
                _log.warning("bus unavailable; trying again", reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def _flush(self) -> None:
        if publish_learnt(self._state, self._publisher, self._clock()):
            self._flushed_s = time.monotonic()
        for delta in self._factor_deltas.due(self._state, self._clock()):
            self._publisher.add(delta.block, encode_delta(delta), delta.made_at_ms)

    async def _finish(self, publishing: "asyncio.Task[None]") -> None:
        self._flush()
        # A bus that is down must not hold up the end: what it lacks, the next life publishes as a snapshot.
        await self._publisher.drained(publishing, within_s=_STOP_FLUSH_S)
        await self._checkpoints.write_now(self._state, self._clock())


async def _learn_past(
    state: LearnerState,
    bus: Bus,
    snapshot: Snapshot | None,
    archive_dir: Path | ArchivePlace,
    dedup: DedupSettings,
    logs: Logs,
    stop: asyncio.Event,
    tombstones: Tombstones,
) -> None:
    """Everything up to now, before anybody is told: replicas should not step back in time to a snapshot."""
    partitions = await bus.partitions(EVENTS)
    if snapshot is None:
        await learn_archive(
            state, archive_dir, partitions=partitions, log_id=logs.events, stop=stop, tombstones=tombstones
        )
    while not stop.is_set():
        try:
            await learn_missed(state, bus, dedup, partitions=partitions, stop=stop, tombstones=tombstones)
            return
        except BusUnavailableError as error:
            _bus_lost.inc()
            _log.warning("bus unavailable; trying again", reason=str(error))
            await asyncio.sleep(_RETRY_S)


def _snapshot_of_this_log(model_dir: Path, logs: Logs) -> Snapshot | None:
    snapshot = newest_snapshot(model_dir)
    if snapshot is not None and snapshot.meta.events_log_id != logs.events:
        _log.warning(
            "snapshot refused: it is of another log, whose positions mean nothing here; learning anew from the archive",
            version=snapshot.meta.version,
            wanted_log=f"{logs.events:016x}",
            got_log=f"{snapshot.meta.events_log_id:016x}",
        )
        return None
    return snapshot


@contextlib.asynccontextmanager
async def _sole_learner(model_dir: Path, stop: asyncio.Event) -> AsyncIterator[bool]:
    """Hold the folder's lock; False when `stop` came first."""
    await asyncio.to_thread(model_dir.mkdir, parents=True, exist_ok=True)
    with (model_dir / "learner.lock").open("w") as lock:
        while not stop.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOCK_POLL_S)
                continue
            yield True
            return
        yield False
