"""Keep a serving process's model up to date: the newest snapshot, then the topic `model`, between requests."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import cast

import structlog
from prometheus_client import Counter, Gauge, Histogram
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ingest.bus.contract import Bus, Delivery, Entry, Position
from ingest.errors import BusError
from ingest.task_ending import end_tasks
from ingest.topics import MODEL
from recommender.errors import DeltaRefusedError
from recommender.learner_state import LEARNER_BLOCKS
from recommender.live_model import LiveModel
from recommender.model_choice import read_choice
from recommender.model_log import Announcement, Delta, decode_message
from recommender.recommender import Recommender
from recommender.snapshot import Snapshot, newest_snapshot

_POLL_S = 0.25
_RETRY_S = 0.5
_CHOICE_POLL_S = 1.0
# A publisher refused in the middle of a pack sends the missing delta again at once; after this it is lost.
_GAP_S_MAX = 2.0

_applied = Counter("afterclick_recommender_deltas_applied_total", "Deltas of the model taken in")
_skipped = Counter("afterclick_recommender_deltas_skipped_total", "Deltas not taken in, by reason", ["reason"])
_loaded = Counter("afterclick_recommender_snapshots_loaded_total", "Snapshots this process began to serve")
_lost = Counter("afterclick_recommender_follow_lost_total", "Times the follower lost the bus and began again")
_sequence = Gauge("afterclick_recommender_model_sequence", "Newest delta taken in", multiprocess_mode="livemin")
_freshness = Histogram(
    "afterclick_recommender_model_freshness_seconds",
    "From the bus accepting an event until this process serves what it taught",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
_slice_seconds = Histogram(
    "afterclick_recommender_delta_slice_seconds",
    "How long one slice of a delta kept requests waiting",
    buckets=(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02),
)
_log = structlog.get_logger(__name__)


class ModelFollower:
    """One per serving process. Without a snapshot, or without a bus, the recommender goes on with what it has.

    Args:
        model_dir: where the learner writes snapshots.
        clock: Unix milliseconds.
    """

    def __init__(
        self,
        bus: Bus,
        recommender: Recommender,
        model_dir: Path,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bus = bus
        self._recommender = recommender
        self._model_dir = model_dir
        self._clock = clock
        self._gap_since_s: float | None = None
        self.ready = asyncio.Event()
        """Set when the first model is served."""

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; meanwhile BLAS has one thread in this process.

        With more, the small products of one answer cost ten times their CPU on a busy machine, spent in waiting for
        each other.
        """
        stopping = asyncio.create_task(stop.wait())
        following = asyncio.create_task(self._follow_for_ever())
        with threadpool_limits(1, user_api="blas"):
            try:
                await asyncio.wait({stopping, following}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                await end_tasks(stopping, following)

    async def _follow_for_ever(self) -> None:
        while True:
            choice = await asyncio.to_thread(read_choice, self._model_dir)
            snapshot = await asyncio.to_thread(self._wanted, choice)
            if snapshot is None:
                await asyncio.sleep(_POLL_S)
                continue
            model = await asyncio.to_thread(LiveModel.from_snapshot, snapshot)
            self._recommender.use(model)
            self._gap_since_s = None
            self.ready.set()
            _loaded.inc()
            _log.info("serving a model", version=model.version, sequence=model.sequence, items=len(model.items))
            following = asyncio.create_task(self._follow(model, snapshot, stays=choice is not None))
            changed = asyncio.create_task(self._choice_changes(choice))
            try:
                await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                await end_tasks(following, changed)

    def _wanted(self, choice: str | None) -> Snapshot | None:
        """The snapshot to serve; a chosen version that is gone is no reason to serve nothing."""
        snapshot = None
        if choice is not None:
            snapshot = newest_snapshot(self._model_dir, without=LEARNER_BLOCKS, version=choice)
            if snapshot is None:
                _log.error("the chosen model cannot be served; serving the newest", chosen=choice)
        return snapshot or newest_snapshot(self._model_dir, without=LEARNER_BLOCKS)

    async def _choice_changes(self, choice: str | None) -> None:
        """Until another version is chosen than `choice`."""
        while await asyncio.to_thread(read_choice, self._model_dir) == choice:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(_CHOICE_POLL_S)

    async def _follow(self, model: LiveModel, snapshot: Snapshot, *, stays: bool) -> None:
        """Take in the version's deltas until another snapshot is to be loaded; `stays`: whatever is announced."""
        position: Position | None = None
        while True:
            try:
                start = position or await self._start_of(snapshot)
                reading = self._bus.read(MODEL, 0, start=start or "earliest")
                async with aclosing(cast("AsyncGenerator[Delivery, None]", reading)) as deliveries:
                    async for delivery in deliveries:
                        for entry in delivery.entries:
                            if await self._take(model, entry, stays=stays):
                                return
                            position = entry.position
                            await asyncio.sleep(0)
            except BusError as error:
                _lost.inc()
                _log.warning("lost the bus; the model stands still until it is back", reason=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _start_of(self, snapshot: Snapshot) -> Position | None:
        if snapshot.meta.model_position is None or snapshot.meta.model_log_id != await self._bus.log_id(MODEL):
            return None
        return Position.parse(snapshot.meta.model_position)

    async def _take(self, model: LiveModel, entry: Entry, *, stays: bool) -> bool:
        """Take in one entry; True when a snapshot must be loaded instead of going on."""
        try:
            message = decode_message(entry.payload or b"")
            if isinstance(message, Announcement):
                return message.version > model.version and not stays
            if message.version != model.version or message.sequence <= model.sequence:
                _skipped.labels("version" if message.version != model.version else "repeat").inc()
                return False
            if message.sequence > model.sequence + 1:
                return self._gap()
            self._gap_since_s = None
            await self._apply(model, message)
        except DeltaRefusedError as error:
            _skipped.labels("refused").inc()
            _log.warning("delta refused", reason=str(error))
        return False

    async def _apply(self, model: LiveModel, delta: Delta) -> None:
        started_s = time.perf_counter()
        for _ in model.apply(delta):
            _slice_seconds.observe(time.perf_counter() - started_s)
            await asyncio.sleep(0)
            started_s = time.perf_counter()
        _applied.inc()
        _sequence.set(model.sequence)
        if delta.newest_event_ms:
            _freshness.observe(max(0.0, (self._clock() - delta.newest_event_ms) / 1000))

    def _gap(self) -> bool:
        """A delta is missing: it may yet be sent again; after a while only a newer snapshot can help."""
        _skipped.labels("gap").inc()
        now_s = time.monotonic()
        if self._gap_since_s is None:
            self._gap_since_s = now_s
        return now_s - self._gap_since_s > _GAP_S_MAX
