"""The way into the embedded bus's Valkey: connections, its function library, and what its errors mean."""

import asyncio
import contextlib
import time
from functools import cache
from pathlib import Path
from typing import Any

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import BusyLoadingError, OutOfMemoryError, ResponseError
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import TimeoutError as ValkeyTimeoutError

from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusFullError, BusUnavailableError

# Publishes that are on their way at once; more of them wait their turn within the send deadline.
_CONNECTIONS_MAX = 32
_BACKOFF_S = 0.02
_BACKOFF_MAX_S = 0.25
# How much longer than it blocks a blocking read may take before the connection counts as dead.
_READ_SLACK_S = 5.0

_NOT_THERE = (ValkeyConnectionError, ValkeyTimeoutError, BusyLoadingError, OSError)


class LogChangedError(BusError):
    """The topic is gone or another one than this process knows: the broker's data was wiped."""


class ValkeyLink:
    """Calls the bus's functions; every failure comes out as a `BusError`.

    A publish is retried until the send deadline: the broker may be restarting. A repeat whose first try did reach the
    log is a duplicate, which readers drop by `message_id`.
    """

    def __init__(self, url: str, settings: BusSettings) -> None:
        self.settings = settings
        self._url = url
        timeout_s = settings.send_deadline_ms / 1000
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Any = Valkey.from_pool(pool)

    def reader(self) -> "ReadingLink":
        """A connection of its own for blocking reads; the caller closes it."""
        return ReadingLink(self._url, self.settings)

    async def load(self) -> None:
        """Put our functions into the server.

        Raises:
            BusUnavailableError: nobody answers there.
        """
        try:
            await self._client.execute_command("FUNCTION", "LOAD", "REPLACE", function_library())
        except (*_NOT_THERE, ResponseError) as error:
            raise translated(error) from error

    async def call(self, function: str, keys: list[bytes], *args: object) -> Any:
        """One call, tried once.

        Raises:
            BusUnavailableError: the broker does not answer, or not in time.
            BusFullError: it refuses writes, or holds all it may.
            LogChangedError: the topic is not there, or another one.
        """
        try:
            return await self._call(function, keys, args)
        except (*_NOT_THERE, ResponseError) as error:
            raise translated(error) from error

    async def call_until(self, deadline_s: float, function: str, keys: list[bytes], *args: object) -> Any:
        """As `call`, tried again until `deadline_s` (monotonic) while the broker does not answer."""
        backoff_s = _BACKOFF_S
        while True:
            try:
                return await self.call(function, keys, *args)
            except BusUnavailableError:
                if time.monotonic() + backoff_s >= deadline_s:
                    raise
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)

    async def _call(self, function: str, keys: list[bytes], args: tuple[object, ...]) -> Any:
        try:
            return await self._client.execute_command("FCALL", function, len(keys), *keys, *args)
        except ResponseError as error:
            if "Function not found" not in str(error):
                raise
        # The server was wiped, or is new: our functions went with its data.
        await self.load()
        return await self._client.execute_command("FCALL", function, len(keys), *keys, *args)

    async def ask(self, *command: object) -> Any:
        """One plain command, tried once.

        Raises:
            BusError: as `call`.
        """
        try:
            return await self._client.execute_command(*command)
        except (*_NOT_THERE, ResponseError) as error:
            raise translated(error) from error

    async def alive(self, timeout_s: float = 0.5) -> bool:
        """Does it answer a ping?"""
        try:
            async with asyncio.timeout(timeout_s):
                return bool(await self._client.ping())
        except (*_NOT_THERE, ResponseError):
            return False

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose(close_connection_pool=True)


class ReadingLink:
    """One connection that may block in a read."""

    def __init__(self, url: str, settings: BusSettings) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=1,
            timeout=_READ_SLACK_S,
            socket_timeout=_READ_SLACK_S,
            socket_connect_timeout=settings.send_deadline_ms / 1000,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Any = Valkey.from_pool(pool)

    async def ask(self, *command: object) -> Any:
        """One command.

        Raises:
            BusError: as `ValkeyLink.call`.
        """
        try:
            return await self._client.execute_command(*command)
        except (*_NOT_THERE, ResponseError) as error:
            raise translated(error) from error

    async def ask_at_once(self, *commands: tuple[object, ...]) -> list[Any]:
        """Several commands of one instant.

        Raises:
            BusError: as `ValkeyLink.call`.
        """
        try:
            async with self._client.pipeline(transaction=True) as together:
                for command in commands:
                    together.execute_command(*command)
                replies: list[Any] = await together.execute()
                return replies
        except (*_NOT_THERE, ResponseError) as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(*_NOT_THERE):
            await self._client.aclose(close_connection_pool=True)


def translated(error: Exception) -> BusError:
    """Whose fault a Valkey error is."""
    text = str(error)
    if isinstance(error, BusyLoadingError) or not isinstance(error, ResponseError):
        return BusUnavailableError(f"the embedded bus does not answer ({text or type(error).__name__}); is it running?")
    if text.startswith("LOGCHANGED"):
        return LogChangedError(text)
    # OOM: maxmemory; MISCONF: the last write to disk failed, as on a full disk.
    if isinstance(error, OutOfMemoryError) or "BUSFULL" in text or "MISCONF" in text or "OOM" in text:
        return BusFullError(f"{text}; let the archive and the workers catch up, free the disk or raise bus.bytes_max")
    return BusError(text)


@cache
def function_library() -> bytes:
    """The Lua source, one library of several files in the order of their names."""
    files = sorted((Path(__file__).parent / "lua").glob("*.lua"))
    return b"\n".join(file.read_bytes() for file in files)
