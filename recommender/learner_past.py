"""Learn what lies behind: the archive where there is no snapshot, and what a log holds after the positions of one."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import cast

import msgspec
import structlog

from ingest.archive_files import log_id_of
from ingest.archive_place import ArchivePlace, place_of
from ingest.archive_reader import read_archived
from ingest.bus.contract import Bus, Delivery
from ingest.dedup import Deduplicated, read_deduplicated, without_erased
from ingest.events import decode_event
from ingest.settings import DedupSettings
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS
from recommender.learner_state import LearnerState

_FLUSH_EVENTS = 2_000

_log = structlog.get_logger(__name__)


async def learn_archive(
    state: LearnerState,
    root: Path | ArchivePlace,
    *,
    partitions: int,
    log_id: int,
    stop: asyncio.Event,
    tombstones: Tombstones | None = None,
) -> None:
    """Take the whole archive in; positions count when it is the archive of this log."""
    archive_log_id = await asyncio.to_thread(log_id_of, place_of(root))
    if archive_log_id is None:
        return
    readers = [_archived(root, partition, tombstones) for partition in range(partitions)]
    await _learn(state, readers, stop, positions_count=archive_log_id == log_id)


async def learn_missed(
    state: LearnerState,
    bus: Bus,
    settings: DedupSettings,
    *,
    partitions: int,
    stop: asyncio.Event,
    tombstones: Tombstones | None = None,
) -> None:
    """Take in what `events` holds after the state's positions.

    The subscription alone would not do: when the newest snapshot is refused and the one before it loaded, it is
    already past events that this state lacks.

    Raises:
        BusUnavailableError: call again; what was taken in is not taken in twice.
    """
    readers = [
        read_deduplicated(
            bus,
            EVENTS,
            partition,
            settings=settings,
            start=state.positions.get(partition, "earliest"),
            until_now=True,
            tombstones=tombstones,
        )
        for partition in range(partitions)
    ]
    await _learn(state, readers, stop, positions_count=True)


async def _learn(
    state: LearnerState, readers: Sequence[AsyncIterator[Deduplicated]], stop: asyncio.Event, *, positions_count: bool
) -> None:
    started_s = time.monotonic()
    taken = 0
    async for deduplicated in _in_time_order(readers):
        state.take(deduplicated, positions_count=positions_count)
        taken += len(deduplicated.entries)
        if state.waiting >= _FLUSH_EVENTS:
            state.flush()
            await asyncio.sleep(0)
        if stop.is_set():
            break
    state.flush()
    _log.info("learnt the past", events=taken, items=len(state.model.items), seconds=time.monotonic() - started_s)


async def _in_time_order(readers: Sequence[AsyncIterator[Deduplicated]]) -> AsyncIterator[Deduplicated]:
    """Sessions are numbered in the order of their first events, so partitions must not come one after another."""
    async with AsyncExitStack() as stack:
        heads: dict[int, Deduplicated] = {}
        opened = [
            await stack.enter_async_context(aclosing(cast("AsyncGenerator[Deduplicated, None]", reader)))
            for reader in readers
        ]
        for place, reader in enumerate(opened):
            await _advance(heads, place, reader)
        while heads:
            place = min(heads, key=lambda at: heads[at].delivery.accepted_at_ms)
            yield heads.pop(place)
            await _advance(heads, place, opened[place])


async def _advance(heads: dict[int, Deduplicated], place: int, reader: AsyncIterator[Deduplicated]) -> None:
    head = await anext(reader, None)
    if head is not None:
        heads[place] = head


async def _archived(
    root: Path | ArchivePlace, partition: int, tombstones: Tombstones | None
) -> AsyncIterator[Deduplicated]:
    async for delivery in read_archived(root, partition):
        yield without_erased(_decoded(delivery), tombstones)


def _decoded(delivery: Delivery) -> Deduplicated:
    """What was archived was deduplicated before."""
    found = Deduplicated(delivery, [], [], [], 0)
    for entry in delivery.entries:
        try:
            found.events.append(decode_event(entry.payload or b""))
            found.entries.append(entry)
        except msgspec.DecodeError as error:
            found.broken.append((entry, str(error)))
    return found
