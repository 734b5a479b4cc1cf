"""Serve the application from one process and one thread, until told to stop; then drain."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Literal

import structlog
import uvicorn
from starlette.applications import Starlette

from api.settings import ApiSettings
from api.steering import Peer, share_again, steer_away

_BACKLOG = 1_024

log = structlog.get_logger()


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind; port 0 takes a free one. Several processes may listen on one port: the kernel shares connections out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: Starlette,
    settings: ApiSettings,
    *,
    stop: asyncio.Event,
    listener: socket.socket,
    lifespan: Literal["auto", "off"] = "auto",
) -> None:
    """Answer requests on `listener` until `stop`; then say 503 to readiness probes for `drain_notice_ms`, take no new
    connections, and wait at most `drain_s_max` for requests under way. Run it on uvloop.

    `lifespan`: "off" for an application that another has started.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=_protocol(settings),
            ws="none",
            lifespan=lifespan,
            log_config=None,
            # The query string may carry the write key and a visitor's id; nothing writes it down.
            access_log=False,
            server_header=False,
            # Nothing here asks for the client's address, and a header must not be able to forge one.
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.drain_s_max,
        )
    )
    stopping = asyncio.create_task(_drain(app, settings, server, listener, stop))
    try:
        await server.serve(sockets=[listener])
    finally:
        stopping.cancel()


class _Server(uvicorn.Server):
    """Leaves signals to the composition root, and takes its share of the port once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            share_again(listener)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _drain(
    app: Starlette, settings: ApiSettings, server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event
) -> None:
    def accepted(peer: Peer) -> bool:
        return any(getattr(connection, "client", None) == peer for connection in server.server_state.connections)

    await stop.wait()
    app.state.drain()
    await steer_away(listener, accepted)
    await asyncio.sleep(settings.drain_notice_ms / 1000)
    server.should_exit = True


def _protocol(settings: ApiSettings) -> type[asyncio.Protocol] | str:
    try:
        from api.http_protocol import limited_protocol  # needs httptools
    except ModuleNotFoundError:
        log.warning("httptools is not installed; parsing HTTP in Python costs 65 µs more a request")
        return "h11"
    return limited_protocol(connections_max=settings.connections_max, retry_after_s=settings.retry_after_s)
