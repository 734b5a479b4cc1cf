"""When the learner's state goes to disk, and what may be acknowledged once it is there."""

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Gauge

from ingest.bus.contract import Delivery
from ingest.dedup import DeduplicatedSubscription
from ingest.errors import BusError
from recommender.learner_state import LearnerState
from recommender.model_choice import read_choice
from recommender.model_log import SNAPSHOT_BLOCK, Announcement, encode_announcement
from recommender.model_publisher import ModelPublisher
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot, SnapshotMeta, file_name, prune_snapshots, write_snapshot

_written = Counter("afterclick_recommender_snapshots_written_total", "Snapshots written, by outcome", ["outcome"])
_bytes = Gauge("afterclick_recommender_snapshot_bytes", "Size of the newest snapshot", multiprocess_mode="mostrecent")
_log = structlog.get_logger(__name__)


class Logs(NamedTuple):
    """The ids of the logs that positions speak of."""

    events: int
    model: int


class Checkpoints:
    """Writes the state in a thread, one file at a time, while learning goes on; acknowledges what is safely in it."""

    def __init__(
        self,
        folder: Path,
        settings: LearnerSettings,
        logs: Logs,
        publisher: ModelPublisher,
        subscription: DeduplicatedSubscription,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._logs = logs
        self._publisher = publisher
        self._subscription = subscription
        self._unacknowledged: dict[int, Delivery] = {}
        self._number = 0
        self._writing: asyncio.Task[None] | None = None
        self._due_s = 0.0

    def taken(self, delivery: Delivery) -> None:
        """The state includes `delivery`; acknowledge it with the next file."""
        self._unacknowledged[delivery.partition] = delivery

    def announce(self, state: LearnerState, now_ms: int) -> None:
        """Begin the version that `state.model` names: its first file, and the announcement once that is in place."""
        self._number = 0
        state.model.sequence = 0
        snapshot = self._capture(state, now_ms)
        self._writing = asyncio.create_task(self._write(snapshot, self._take_unacknowledged(), self._writing))
        announcement = Announcement(state.model.version, file_name(snapshot.meta), now_ms)
        self._publisher.add(SNAPSHOT_BLOCK, encode_announcement(announcement), now_ms, after=self._writing)

    async def turn(self, state: LearnerState, now_ms: int) -> None:
        """Write a file when one is due and something has changed since the last."""
        if self._writing is not None and self._writing.done():
            writing, self._writing = self._writing, None
            await self._outcome(writing)
        if self._writing is None and self._unacknowledged and time.monotonic() >= self._due_s:
            await self._start(state, now_ms)

    async def write_now(self, state: LearnerState, now_ms: int) -> None:
        """The last file of this life."""
        if self._writing is not None:
            await self._outcome(self._writing)
        if self._unacknowledged:
            await self._start(state, now_ms)
            if self._writing is not None:
                await self._outcome(self._writing)

    async def _start(self, state: LearnerState, now_ms: int) -> None:
        if state.waiting:
            # What was taken and not yet learnt is in no array; the next flush is milliseconds away.
            return
        self._number += 1
        snapshot = self._capture(state, now_ms)
        self._writing = asyncio.create_task(self._write(snapshot, self._take_unacknowledged(), None))

    async def _outcome(self, writing: "asyncio.Task[None]") -> None:
        try:
            await writing
        except OSError as error:
            _written.labels("failed").inc()
            _log.error("snapshot not written; nothing is acknowledged until one is", reason=str(error))

    async def _write(
        self, snapshot: Snapshot, deliveries: dict[int, Delivery], before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        try:
            path = await asyncio.to_thread(write_snapshot, self._folder, snapshot)
        except OSError:
            self._unacknowledged = {**deliveries, **self._unacknowledged}
            raise
        await asyncio.to_thread(self._prune)
        _written.labels("done").inc()
        _bytes.set(path.stat().st_size)
        for delivery in deliveries.values():
            try:
                await self._subscription.acknowledge(delivery)
            except BusError as error:
                # Delivered again, it is skipped by its position; the next file acknowledges it too.
                _log.warning("not acknowledged", reason=str(error))

    def _prune(self) -> None:
        settings = self._settings
        prune_snapshots(
            self._folder, keep=settings.snapshots_kept, versions=settings.versions_kept, spare=read_choice(self._folder)
        )

    def _take_unacknowledged(self) -> dict[int, Delivery]:
        self._due_s = time.monotonic() + self._settings.snapshot_ms / 1000
        taken, self._unacknowledged = self._unacknowledged, {}
        return taken

    def _capture(self, state: LearnerState, now_ms: int) -> Snapshot:
        position = self._publisher.position
        meta = SnapshotMeta(
            version=state.model.version,
            checkpoint=self._number,
            made_at_ms=now_ms,
            events_log_id=self._logs.events,
            events_positions={partition: str(at) for partition, at in state.positions.items()},
            model_log_id=self._logs.model,
            model_position=str(position) if position is not None else None,
            sequence=state.model.sequence,
            parameters=state.model.parameters,
            data_from_ms=state.interactions.oldest_ms,
            data_to_ms=state.model.newest_ms,
            items=len(state.model.items),
            events=state.interactions.total,
            metrics=state.score.figures(),
        )
        return Snapshot(meta, tuple(state.model.items.ids), state.arrays())
