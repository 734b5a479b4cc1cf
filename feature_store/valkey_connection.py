"""One multiplexed connection to Valkey: commands of many callers in flight at once, each with its own deadline."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import libvalkey

from feature_store.errors import StoreChangedError, StoreUnavailableError

Argument = bytes | str | int
Command = Sequence[Argument]
Reply = Any


class _Sent:
    """Commands sent as one write: their replies so far, and the future of all of them."""

    __slots__ = ("count", "future", "replies")

    def __init__(self, count: int, future: "asyncio.Future[list[Reply]]") -> None:
        self.count = count
        self.future = future
        self.replies: list[Reply] = []


class _Protocol(asyncio.Protocol):
    """Matches replies to the commands, in the order in which these were sent."""

    def __init__(self) -> None:
        self.waiting: deque[_Sent] = deque()
        self.inflight = 0
        self.transport: asyncio.Transport | None = None
        self.run_id = ""
        self._reader = libvalkey.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            sent = self.waiting[0]
            sent.replies.append(reply)
            self.inflight -= 1
            if len(sent.replies) == sent.count:
                self.waiting.popleft()
                if not sent.future.done():  # its caller's deadline may have passed
                    sent.future.set_result(sent.replies)

    def send(self, commands: Sequence[Command]) -> "asyncio.Future[list[Reply]]":
        """Write `commands`, at least one; connected only."""
        assert self.transport is not None, "send() on a connection that was lost"
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self.waiting.append(_Sent(len(commands), future))
        self.inflight += len(commands)
        self.transport.write(b"".join([libvalkey.pack_command(tuple(command)) for command in commands]))
        return future

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.transport = None
        error = StoreUnavailableError("online store: wanted an answer; the connection was lost; it is tried again")
        while self.waiting:
            future = self.waiting.popleft().future
            if not future.done():
                future.set_exception(error)
        self.inflight = 0


class ValkeyConnection:
    """Connects when first asked, and again after a loss; never twice at once, never more often than the pause allows.

    Args:
        url: `valkey://[:password@]host:port[/db]` or `unix:///path`.
        connect_ms_max: for one connection with its greeting.
        inflight_max: commands sent and not yet answered.
        pause_ms: after a failed connection, callers are refused at once for this long.
        greet: called on every new connection before anyone else may use it; may send commands through its argument;
            returns the run id of the server.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_ms_max: int,
        inflight_max: int,
        pause_ms: int,
        greet: Callable[["Send"], Awaitable[str]],
    ) -> None:
        self._url = url
        self._parts = urlsplit(url)
        if self._parts.scheme not in {"valkey", "redis", "unix"}:
            raise StoreUnavailableError(
                f"online store: wanted a URL valkey://host:port or unix:///path; got {self._parts.scheme}://"
            )
        self._connect_s_max = connect_ms_max / 1000
        self._inflight_max = inflight_max
        self._pause_s = pause_ms / 1000
        self._greet = greet
        self._protocol: _Protocol | None = None
        self._connecting: asyncio.Task[_Protocol] | None = None
        self._refused_until = 0.0

    async def send(self, commands: Sequence[Command], *, timeout_ms: float, run_id: str | None = None) -> list[Reply]:
        """The replies to `commands`, sent as one write. An error reply is an instance of `libvalkey.ReplyError`.

        `run_id`: send nothing unless it is still this run of the server.

        Raises:
            StoreChangedError: the server was started anew since `run_id`; nothing was sent.
            StoreUnavailableError: no connection, too much in flight, or no answer within `timeout_ms`. The store may
                have done the commands all the same.
        """
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                protocol = await self._connected()
                if run_id is not None and protocol.run_id != run_id:
                    raise StoreChangedError(f"online store: {self._place()} was started anew; read it again")
                return await self._exchange(protocol, commands)
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"online store: wanted an answer within {timeout_ms:.0f} ms; none came from {self._place()}"
            ) from error

    def post(self, commands: Sequence[Command], *, run_id: str | None = None) -> "asyncio.Future[list[Reply]] | None":
        """As `send` for whoever keeps the time himself, without a task: the replies to come.

        None when it cannot be done at once (no connection, too much in flight, another run): then `send` says why.
        The future fails with StoreUnavailableError when the connection is lost.
        """
        protocol = self._protocol
        if protocol is None or protocol.transport is None:
            return None
        if (run_id is not None and protocol.run_id != run_id) or protocol.inflight + len(commands) > self._inflight_max:
            return None
        return protocol.send(commands)

    async def run_id_now(self, *, timeout_ms: float) -> str:
        """The run id of the server connected to; it has another one after every start.

        Raises:
            StoreUnavailableError: no connection within `timeout_ms`.
        """
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return (await self._connected()).run_id
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"online store: wanted a connection to {self._place()} within {timeout_ms:.0f} ms; is it up?"
            ) from error

    async def close(self) -> None:
        """Let go of the connection; callers still waiting are told that it was lost."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.close()
        self._protocol = None

    async def _exchange(self, protocol: _Protocol, commands: Sequence[Command]) -> list[Reply]:
        if protocol.transport is None:
            raise StoreUnavailableError(f"online store: the connection to {self._place()} was lost; it is tried again")
        if protocol.inflight + len(commands) > self._inflight_max:
            raise StoreUnavailableError(
                f"online store: wanted at most {self._inflight_max} commands in flight; got one more; "
                "the store is too slow for what is asked of it"
            )
        return await protocol.send(commands) if commands else []

    async def _connected(self) -> _Protocol:
        if self._protocol is not None and self._protocol.transport is not None:
            return self._protocol
        loop = asyncio.get_running_loop()
        if self._connecting is None:
            if loop.time() < self._refused_until:
                raise StoreUnavailableError(f"online store: {self._place()} refused a connection just now; is it up?")
            self._connecting = loop.create_task(self._connect())
            self._connecting.add_done_callback(self._connect_done)
        # Shielded: the caller whose deadline passes must not take the connection away from the others.
        return await asyncio.shield(self._connecting)

    def _connect_done(self, task: "asyncio.Task[_Protocol]") -> None:
        self._connecting = None
        if task.cancelled():
            return
        if task.exception() is not None:
            self._refused_until = asyncio.get_running_loop().time() + self._pause_s
        else:
            self._protocol = task.result()

    async def _connect(self) -> _Protocol:
        try:
            async with asyncio.timeout(self._connect_s_max):
                protocol = await self._open()
                await self._log_in(protocol)
                protocol.run_id = await self._greet(lambda commands: self._exchange(protocol, commands))
                return protocol
        except (OSError, TimeoutError) as error:
            raise StoreUnavailableError(
                f"online store: wanted a Valkey server at {self._place()}; got {error or 'no answer'}; is it up?"
            ) from error

    async def _open(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self._parts.scheme == "unix":
            _, protocol = await loop.create_unix_connection(_Protocol, self._parts.path)
        else:
            host, port = self._parts.hostname or "127.0.0.1", self._parts.port or 6379
            _, protocol = await loop.create_connection(_Protocol, host, port)
        return protocol

    async def _log_in(self, protocol: _Protocol) -> None:
        commands: list[Command] = []
        if self._parts.password:
            commands.append(("AUTH", unquote(self._parts.username or "default"), unquote(self._parts.password)))
        if self._parts.scheme != "unix" and (database := self._parts.path.strip("/")):
            commands.append(("SELECT", database))
        for reply in await self._exchange(protocol, commands) if commands else ():
            if isinstance(reply, libvalkey.ReplyError):
                raise StoreUnavailableError(f"online store at {self._place()}: {reply}; mend the store's URL")

    def _place(self) -> str:
        """The address without the password, for messages."""
        if self._parts.scheme == "unix":
            return f"unix://{self._parts.path}"
        return f"{self._parts.scheme}://{self._parts.hostname}:{self._parts.port or 6379}"


Send = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
