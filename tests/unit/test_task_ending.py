"""A task that swallows a cancellation is ended all the same."""

import asyncio
import contextlib

from ingest.task_ending import end_tasks


async def test_ends_a_task_that_loses_its_first_cancellation() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    await end_tasks(task, None)

    assert task.cancelled()


async def test_passes_over_a_task_that_has_failed() -> None:
    async def failing() -> None:
        raise ValueError("over")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)

    await end_tasks(task)

    assert task.done()
