"""`afterclick up`: start, say where, wait, stop."""

import asyncio
import signal

from afterclick.console import say, show_keys
from afterclick.settings import Settings
from afterclick.system import System, locked


async def run_up(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; whatever was started is stopped, however this ends."""
    stop = stop_on_signals()
    with locked(settings.data_dir):
        system = System(settings)
        try:
            starting = asyncio.create_task(system.start())
            if not await finished_before(starting, stop):
                return
            running = starting.result()
            if running.keys_are_new:
                show_keys(running.keys, keys_file=str(settings.data_dir / "keys.toml"))
            say(f"Afterclick is ready at {running.url}")
            await stop.wait()
        finally:
            await system.stop()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def finished_before(task: "asyncio.Task[object] | asyncio.Task[None]", stop: asyncio.Event) -> bool:
    """Wait for `task` or `stop`, whichever comes first; a task that lost is cancelled.

    Raises:
        Exception: whatever `task` raised.
    """
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    task.result()
    return True
