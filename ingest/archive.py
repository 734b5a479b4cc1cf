"""Write every event to Parquet once: put whole into place, and only then acknowledged."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import polars as pl
import structlog
from prometheus_client import Counter, Gauge, Histogram

from ingest.archive_chain import ArchiveChain
from ingest.archive_compaction import Compactor
from ingest.archive_erasure import Eraser
from ingest.archive_files import claim_log
from ingest.archive_place import ArchivePlace, place_of
from ingest.archive_rows import ArchivedEvent
from ingest.bus.contract import Bus, Position
from ingest.dedup import Deduplicated, DeduplicatedSubscription, subscribe_deduplicated
from ingest.errors import ArchiveError, BusUnavailableError, LogMismatchError
from ingest.settings import Settings
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS

SUBSCRIPTION = "archive"

_HOUR_MS = 3_600_000
_WAIT_MS = 200
_RETRY_S = 0.5
_WRITE_AGAIN_S = (0.1, 0.5, 2.0)
"""How long to wait before each further try to write: object stores fail for a moment now and then."""

_PLACE_ERRORS = (ArchiveError, OSError, pl.exceptions.PolarsError)

_EVENTS = Counter("afterclick_ingest_archived_events_total", "Events written to the archive")
_FILES = Counter("afterclick_ingest_archived_files_total", "Files put in place")
_BYTES = Counter("afterclick_ingest_archived_bytes_total", "Bytes of the files put in place")
_BROKEN = Counter("afterclick_ingest_archive_broken_total", "Entries of the log that are no event and were left out")
_FLUSH_SECONDS = Histogram("afterclick_ingest_archive_flush_seconds", "Writing what is held, until it is acknowledged")
_RETRIED = Counter(
    "afterclick_ingest_archive_retried_total",
    "Times the place could not be used and the archive went on to try again, by what it was doing",
    ["doing"],
)
_LAG_SECONDS = Gauge(
    "afterclick_ingest_archive_lag_seconds", "Age of the newest event when it was archived", multiprocess_mode="max"
)

_log = structlog.get_logger()


async def run_archive(
    bus: Bus,
    settings: Settings,
    root: Path | ArchivePlace,
    stop: asyncio.Event,
    *,
    consumer: str = "",
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Archive the topic `events` in `root` until `stop`; then write what is held, and return.

    Killed at any instant, the next start goes on after the last position in the archive.

    Raises:
        ArchiveError: the place cannot be written, or another process writes there; nothing was acknowledged.
        LogMismatchError: the place is of another log than the bus holds.
    """
    place = place_of(root)
    async with place.writing(wait_ms=settings.archive.lock_wait_ms):
        log_id = await bus.log_id(EVENTS)
        await asyncio.to_thread(claim_log, place, topic=EVENTS.name, log_id=log_id)
        tombstones = await Tombstones.open(bus, reader=SUBSCRIPTION)
        subscription = await subscribe_deduplicated(
            bus, EVENTS, SUBSCRIPTION, settings=settings.dedup, consumer=consumer, tombstones=tombstones
        )
        chain = ArchiveChain(place, keep_small_ms=settings.archive.keep_small_ms)
        archive = _Archive(place, log_id, subscription, chain)
        keeper = _Keeper(Compactor(place, settings.archive), Eraser(place), tombstones, settings, now_ms)
        try:
            await _follow(archive, keeper, subscription, settings, stop)
            await archive.flush()
        finally:
            await subscription.close()
            await tombstones.close()


def runs_by_hour(held: list[Deduplicated]) -> Iterator[list[Deduplicated]]:
    """Runs of deliveries of one hour of acceptance, in order of position.

    Runs, not one group an hour: were a clock to step back over the hour, one file an hour would cover a range that the
    other interrupts, and a crash between the two renames would skip what lies in it.
    """
    for _, run in groupby(held, key=lambda found: found.delivery.accepted_at_ms // _HOUR_MS):
        yield list(run)


async def _follow(
    archive: "_Archive",
    keeper: "_Keeper",
    subscription: DeduplicatedSubscription,
    settings: Settings,
    stop: asyncio.Event,
) -> None:
    wait_ms = min(_WAIT_MS, settings.archive.flush_ms)
    while not stop.is_set():
        try:
            deliveries = await subscription.receive(wait_ms=wait_ms, entries_max=settings.archive.flush_entries)
        except BusUnavailableError as error:
            _log.warning("archive waits for the bus", reason=str(error))
            await asyncio.sleep(_RETRY_S)
            continue
        for delivery in deliveries:
            archive.hold(delivery)
        if archive.entries_held >= settings.archive.flush_entries or archive.held_ms >= settings.archive.flush_ms:
            await archive.flush()
        await keeper.turn()


class _Keeper:
    """Looks after the files in place: merges the small ones, empties what was erased; one after the other."""

    def __init__(
        self,
        compactor: Compactor,
        eraser: Eraser,
        tombstones: Tombstones,
        settings: Settings,
        now_ms: Callable[[], int],
    ) -> None:
        self._compactor = compactor
        self._eraser = eraser
        self._tombstones = tombstones
        self._every_s = settings.archive.compact_every_ms / 1000
        self._now_ms = now_ms
        self._turned_s = 0.0

    async def turn(self) -> None:
        """Do what is due; what fails is counted and comes again, for events are written without it."""
        await self._tombstones.refresh()
        if time.monotonic() - self._turned_s < self._every_s:
            return
        try:
            await asyncio.to_thread(self._compactor.turn, now_ms=self._now_ms())
            await asyncio.to_thread(self._eraser.turn, self._tombstones.keys, now_ms=self._now_ms())
        except _PLACE_ERRORS as error:
            _RETRIED.labels("housekeeping").inc()
            _log.warning("archive could not tidy its files, and will again", reason=str(error))
        self._turned_s = time.monotonic()


class _Archive:
    """What is held in memory, and what is in place."""

    def __init__(
        self, place: ArchivePlace, log_id: int, subscription: DeduplicatedSubscription, chain: ArchiveChain
    ) -> None:
        self._place = place
        self._log_id = log_id
        self._subscription = subscription
        self._chain = chain
        self._epochs: dict[int, int] = {}
        self._held: dict[int, list[Deduplicated]] = {}
        self._held_since_s: float | None = None
        self.entries_held = 0

    @property
    def held_ms(self) -> float:
        """How long the oldest delivery has been held."""
        return 0.0 if self._held_since_s is None else (time.monotonic() - self._held_since_s) * 1000

    def hold(self, found: Deduplicated) -> None:
        """Keep a delivery until the next flush.

        Raises:
            LogMismatchError: the bus was wiped while we read it.
        """
        if found.delivery.log_id != self._log_id:
            raise LogMismatchError(
                f"the archive in {self._place.address} is of log {self._log_id:016x}, the bus now delivers from log "
                f"{found.delivery.log_id:016x}; move the archive away, or start with another --data-dir"
            )
        if self._epochs.get(found.delivery.partition) != found.delivery.epoch:
            # Another archive may have had the partition meanwhile.
            self._epochs[found.delivery.partition] = found.delivery.epoch
            self._chain.forget()
        self._held.setdefault(found.delivery.partition, []).append(found)
        self.entries_held += len(found.delivery.entries)
        if self._held_since_s is None:
            self._held_since_s = time.monotonic()
        if found.broken:
            _BROKEN.inc(len(found.broken))

    async def flush(self) -> None:
        """Put what is held in place, then acknowledge it, one partition after the other."""
        with _FLUSH_SECONDS.time():
            for partition, held in self._held.items():
                for run in runs_by_hour(held):
                    await asyncio.to_thread(self._write, partition, run)
                await self._acknowledge(held[-1])
        self._held = {}
        self._held_since_s = None
        self.entries_held = 0

    async def _acknowledge(self, last: Deduplicated) -> None:
        try:
            await self._subscription.acknowledge(last.delivery)
        except BusUnavailableError as error:
            # It will be delivered again, and skipped by its position.
            _log.warning("archive could not acknowledge", reason=str(error))
        _LAG_SECONDS.set(time.time() - last.delivery.accepted_at_ms / 1000)

    def _write(self, partition: int, run: list[Deduplicated]) -> None:
        for wait_s in (*_WRITE_AGAIN_S, None):
            try:
                self._put(partition, run)
                return
            except _PLACE_ERRORS as error:
                if wait_s is None:
                    raise ArchiveError(
                        f"{error}; nothing of it was acknowledged, the archive goes on where it was"
                    ) from error
                _RETRIED.labels("writing").inc()
                _log.warning("archive could not write, and will again", reason=str(error), wait_s=wait_s)
                time.sleep(wait_s)

    def _put(self, partition: int, run: list[Deduplicated]) -> None:
        """Put what is not in the archive yet in place; a try whose answer was lost is found there, not repeated."""
        while rows := list(_rows_after(run, self._chain.end(partition))):
            size_bytes = self._chain.append(partition, rows, last=run[-1].delivery.last)
            if size_bytes is not None:
                _EVENTS.inc(len(rows))
                _FILES.inc()
                _BYTES.inc(size_bytes)
                return


def _rows_after(run: list[Deduplicated], done: Position | None) -> Iterator[ArchivedEvent]:
    for found in run:
        delivery = found.delivery
        for entry, event in zip(found.entries, found.events, strict=True):
            if done is None or entry.position > done:
                # What came again after a reconnection, while its first delivery is still held, is one event too.
                done = entry.position
                yield ArchivedEvent(delivery.partition, entry.position, delivery.accepted_at_ms, event)
