"""End tasks for certain: a cancellation may get lost on its way."""

import asyncio
from typing import Any

_AGAIN_S = 1.0


async def end_tasks(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel, and cancel again, until all have ended; what they ended with is of no interest.

    One cancellation in sixty of a read from Valkey was lost in a trial (the client's clean-up swallowed it), and the
    task went on for ever.
    """
    given = [task for task in tasks if task is not None]
    running = {task for task in given if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_S)
    for task in given:
        if not task.cancelled():
            # Looked at, or asyncio complains that nobody did.
            task.exception()
