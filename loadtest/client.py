"""A lean keep-alive HTTP/1.1 client: the load driver must not eat the cores it measures."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from loadtest.errors import ConnectionLostError, OptionError

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024


class Response(NamedTuple):
    """One answer; header names are in lower case. `took_s`: from the request's writing to the answer's last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float = 0.0


class Client:
    """Requests to one origin over at most `connections_max` kept-alive connections.

    More requests than connections wait their turn, in order. Not safe across event loops.
    """

    def __init__(self, url: str, *, key: str | None = None, connections_max: int = 16, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise OptionError(
                wanted="an address such as http://127.0.0.1:8080",
                got=repr(url),
                next_step="pass the one that `afterclick up` printed",
            )
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._fixed_head = f"Host: {parts.netloc}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(connections_max)

    async def request(
        self, method: str, target: str, *, body: bytes = b"", content_type: str = "application/json"
    ) -> Response:
        """Send one request and wait for its whole answer.

        Raises:
            ConnectionLostError: refused, broken off, or longer than the timeout; the request may have been done.
        """
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._fixed_head}"
        if body or method != "GET":
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        message = head.encode("ascii") + b"\r\n" + body
        async with self._free:
            return await self._exchange(message, is_head=method == "HEAD")

    async def _exchange(self, message: bytes, *, is_head: bool) -> Response:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                try:
                    return await self._on(connection, message, is_head=is_head)
                except _StaleConnectionError:
                    # The server closed it while it was idle: nothing was answered, so a fresh one is tried.
                    continue
        return await self._on(await self._connect(), message, is_head=is_head)

    async def _on(self, connection: "_Connection", message: bytes, *, is_head: bool) -> Response:
        response = await connection.exchange(message, timeout_s=self._timeout_s, is_head=is_head)
        if connection.open:
            self._idle.append(connection)
        return response

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=self._ssl)
        except (OSError, TimeoutError) as error:
            raise ConnectionLostError(f"no connection to {self._host}:{self._port}: {error or 'timed out'}") from error
        return connection

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every idle connection; requests under way fail."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)


class _StaleConnectionError(ConnectionLostError):
    """A kept-alive connection was closed before one byte of the answer came."""


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._buffer = bytearray()
        self._is_head = False
        self._exchanges = 0
        self._head: tuple[int, dict[str, str], int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    async def exchange(self, message: bytes, *, timeout_s: float, is_head: bool) -> Response:
        """Write `message`, wait for the answer; a timeout closes the connection."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._is_head = is_head
        timer = loop.call_later(timeout_s, self._fail, ConnectionLostError(f"no answer within {timeout_s:g} s"))
        start_s = time.perf_counter()
        self._transport.write(message)
        try:
            return (await self._answer)._replace(took_s=time.perf_counter() - start_s)
        finally:
            timer.cancel()
            self._exchanges += 1
            if not self._answer.done() or self._answer.cancelled():
                self.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            response = self._parse()
        except (ValueError, IndexError) as error:
            self._fail(ConnectionLostError(f"the answer is not HTTP/1.1: {error}"))
            return
        if response is not None:
            self._finish(response)

    def eof_received(self) -> bool:
        # A body without a length ends with the connection.
        if self._head is not None and self._head[2] == _UNTIL_CLOSE:
            status, headers, _ = self._head
            self._finish(Response(status, headers, bytes(self._buffer)))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        stale = self._exchanges > 0 and not self._buffer and self._head is None
        kind = _StaleConnectionError if stale else ConnectionLostError
        self._fail(kind(f"the connection was closed before the answer was whole{f': {exc}' if exc else ''}"))

    def close(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
            self.close()

    def _finish(self, response: Response) -> None:
        self._head = None
        self._buffer.clear()
        if response.headers.get("connection", "").lower() == "close":
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _parse(self) -> Response | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_BYTES_MAX:
                    raise ValueError(f"a head of more than {HEAD_BYTES_MAX} bytes")
                return None
            self._head = _parse_head(self._buffer[:end].decode("latin-1"), no_body=self._is_head)
            del self._buffer[: end + 4]
        status, headers, length = self._head
        if length == _CHUNKED:
            body = _dechunk(self._buffer)
            return None if body is None else Response(status, headers, body)
        if len(self._buffer) > BODY_BYTES_MAX:
            raise ValueError(f"a body of more than {BODY_BYTES_MAX} bytes")
        if length == _UNTIL_CLOSE or len(self._buffer) < length:
            return None
        return Response(status, headers, bytes(self._buffer[:length]))


_CHUNKED = -1
_UNTIL_CLOSE = -2


def _parse_head(head: str, *, no_body: bool) -> tuple[int, dict[str, str], int]:
    """Status, headers in lower case, and the body's length (or `_CHUNKED`, `_UNTIL_CLOSE`)."""
    first, *lines = head.split("\r\n")
    version, status_text, *_ = first.split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(f"a status line that begins {first[:40]!r}")
    status = int(status_text)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if no_body or status in {204, 304}:
        return status, headers, 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return status, headers, _CHUNKED
    if "content-length" in headers:
        return status, headers, int(headers["content-length"])
    return status, headers, _UNTIL_CLOSE


def _dechunk(raw: bytearray) -> bytes | None:
    """The body of a chunked answer, or None while it is not whole. `raw` is not modified."""
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = raw.find(b"\r\n", at)
        if line_end < 0:
            return None
        size = int(raw[at:line_end].split(b";")[0], 16)
        start = line_end + 2
        if len(raw) < start + size + 2:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(bytes(raw[start : start + size]))
        at = start + size + 2
