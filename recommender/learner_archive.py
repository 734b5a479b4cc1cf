"""Learn the archive: how a learner without a snapshot comes to know what was clicked before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import structlog

from ingest.archive_files import log_id_of
from ingest.archive_reader import read_archived
from ingest.bus.contract import Delivery
from ingest.dedup import Deduplicated
from ingest.events import decode_event
from recommender.learner_state import LearnerState

_FLUSH_EVENTS = 2_000

_log = structlog.get_logger(__name__)


async def learn_archive(state: LearnerState, root: Path, *, partitions: int, log_id: int, stop: asyncio.Event) -> None:
    """Take everything in, oldest first over all partitions; positions count when it is the archive of this log."""
    archive_log_id = log_id_of(root)
    if archive_log_id is None:
        return
    events = 0
    async for delivery in _in_time_order(root, partitions):
        state.take(_decoded(delivery), positions_count=archive_log_id == log_id)
        events += len(delivery.entries)
        if state.waiting >= _FLUSH_EVENTS:
            state.flush()
            await asyncio.sleep(0)
        if stop.is_set():
            break
    state.flush()
    _log.info("learnt the archive", events=events, items=len(state.model.items))


async def _in_time_order(root: Path, partitions: int) -> AsyncIterator[Delivery]:
    """Sessions are numbered in the order of their first events, so partitions must not come one after another."""
    readers = [read_archived(root, partition) for partition in range(partitions)]
    heads = {place: head for place, reader in enumerate(readers) if (head := await anext(reader, None)) is not None}
    while heads:
        place = min(heads, key=lambda at: heads[at].accepted_at_ms)
        yield heads[place]
        head = await anext(readers[place], None)
        if head is None:
            del heads[place]
        else:
            heads[place] = head


def _decoded(delivery: Delivery) -> Deduplicated:
    """What was archived was deduplicated before."""
    entries, events, broken = [], [], []
    for entry in delivery.entries:
        try:
            events.append(decode_event(entry.payload or b""))
            entries.append(entry)
        except msgspec.DecodeError as error:
            broken.append((entry, str(error)))
    return Deduplicated(delivery, entries, events, broken, 0)
