"""HTTP/1.1 on a socket, by uvicorn and httptools, with the first byte's time noted and connections limited."""

import asyncio
import time
from typing import Any, cast

import msgspec
from prometheus_client import Counter
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.edge import FIRST_BYTE
from api.errors import BadRequestError, OverloadedError
from api.problems import PROBLEM_JSON, problem_of

_REFUSED = Counter("afterclick_api_connections_refused_total", "Connections closed because too many were open")
_MALFORMED = Counter("afterclick_api_requests_malformed_total", "What came was no HTTP/1.1 request")


def limited_protocol(*, connections_max: int, retry_after_s: int) -> type[asyncio.Protocol]:
    """A protocol class that serves at most `connections_max` connections of this process at once."""

    class LimitedProtocol(TimedProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            if len(self.connections) > connections_max:
                _REFUSED.inc()
                refusal = OverloadedError(
                    "too_many_connections",
                    wanted=f"at most {connections_max} connections",
                    got="one more",
                    next_step="use fewer connections and keep them open; come back after Retry-After",
                )
                retry_after = f"retry-after: {retry_after_s}\r\n".encode()
                self.refuse(503, _document(refusal, 503), headers=retry_after)

    return LimitedProtocol


class TimedProtocol(HttpToolsProtocol):
    """Notes when a request's first byte was read, so that its wait for a turn counts against its budget."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Several requests may be in `data`; all of them came now."""
        self._read_s = time.perf_counter()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[FIRST_BYTE] = self._read_s

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        _MALFORMED.inc()
        error = BadRequestError(
            "malformed_request", wanted="an HTTP/1.1 request", got=msg, next_step="check what speaks to this port"
        )
        self.refuse(400, _document(error, 400))

    def refuse(self, status: int, body: bytes, *, headers: bytes = b"") -> None:
        """Answer without the application, and close."""
        head = f"HTTP/1.1 {status} Refused\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\n".encode()
        self.transport.write(head + headers + b"connection: close\r\n\r\n" + body)
        self.transport.close()


def _document(error: BadRequestError | OverloadedError, status: int) -> bytes:
    return msgspec.json.encode(problem_of(error, status))
