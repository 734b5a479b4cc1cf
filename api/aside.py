"""A second thread with an event loop of its own, for what would make suggestions wait."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Aside:
    """Runs coroutines on its own thread; whatever they use must be made and closed there too.

    The dashboard's numbers take 15 ms of Python a second: on the serving loop every request in that time would wait
    for all of it; from here it waits for one switch of threads (`sys.setswitchinterval`).
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    async def run(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What the coroutine made by `make` returns, or raises."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), self._loop))

    async def close(self) -> None:
        """End the thread; what still runs there is abandoned."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()
