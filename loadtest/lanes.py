"""Lanes keep each visitor's order: a visitor belongs to one lane, and a lane sends one batch at a time."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from loadtest.files import Row


class Step(NamedTuple):
    """One row on its way; `ask`: ask for suggestions before it is sent."""

    row: Row
    ask: bool


Batch = list[Step]
SendBatch = Callable[[Batch], Awaitable[None]]
_Queue = asyncio.Queue[Batch | None]
"""None ends the lane."""


def lane_of(visitor: str, lanes: int) -> int:
    """The lane of a visitor: CRC-32 of the id modulo the count, the same in every run."""
    return zlib.crc32(visitor.encode()) % lanes


async def send_in_lanes(
    steps: Iterable[Step],
    send: SendBatch,
    *,
    lanes: int,
    batch_rows_max: int,
    lane_batches_max: int,
    due_in_s: Callable[[Row], float] | None = None,
    linger_s: float = 0.0,
) -> None:
    """Hand `steps` to `send` in batches, in order within each lane; the first failure stops all lanes and is raised.

    A full lane pauses the reader, so lanes never drift apart by more than `lane_batches_max` batches.

    Args:
        due_in_s: seconds until a row is due, negative when it is late; None: as fast as possible.
        linger_s: the least time slept when a row is not due yet, so that rows of the same moment share a batch.
    """
    queues: list[_Queue] = [asyncio.Queue(lane_batches_max) for _ in range(lanes)]
    try:
        async with asyncio.TaskGroup() as group:
            for queue in queues:
                group.create_task(_run_lane(queue, send))
            await _feed(steps, queues, batch_rows_max=batch_rows_max, due_in_s=due_in_s, linger_s=linger_s)
    except ExceptionGroup as failures:
        # Lanes fail for one cause, the server's; the first one tells it.
        raise failures.exceptions[0] from failures


async def _feed(
    steps: Iterable[Step],
    queues: list[_Queue],
    *,
    batch_rows_max: int,
    due_in_s: Callable[[Row], float] | None,
    linger_s: float,
) -> None:
    waiting: list[Batch] = [[] for _ in queues]
    for step in steps:
        if due_in_s is not None and (wait_s := due_in_s(step.row)) > 0:
            await _flush(waiting, queues)
            await asyncio.sleep(max(wait_s, linger_s))
        lane = lane_of(step.row.visitor, len(queues))
        waiting[lane].append(step)
        if len(waiting[lane]) >= batch_rows_max:
            batch, waiting[lane] = waiting[lane], []
            await queues[lane].put(batch)
    await _flush(waiting, queues)
    for queue in queues:
        await queue.put(None)


async def _flush(waiting: list[Batch], queues: list[_Queue]) -> None:
    """Send what waits in every lane on its way; `waiting` is emptied."""
    for at, queue in enumerate(queues):
        if waiting[at]:
            batch, waiting[at] = waiting[at], []
            await queue.put(batch)


async def _run_lane(queue: _Queue, send: SendBatch) -> None:
    while (batch := await queue.get()) is not None:
        await send(batch)
