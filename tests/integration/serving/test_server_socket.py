"""The server on a real socket: draining, limits, what is logged."""

import asyncio
import io
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.edge import FIRST_BYTE
from api.server import listening_socket, serve
from api.settings import ApiSettings

SETTINGS = ApiSettings(connections_max=3, drain_notice_ms=300, drain_s_max=20)


class Shop:
    """A small application on the real server; `gate` holds its slow answer back."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.draining = asyncio.Event()
        self.app = Starlette(routes=[Route("/slow", self._slow), Route("/wait", self._wait)])
        self.app.state.drain = self.draining.set
        self.stop = asyncio.Event()
        self.address = ""

    async def _slow(self, _: Request) -> Response:
        self.begun.release()
        await self.gate.wait()
        return Response(b"done")

    async def _wait(self, request: Request) -> Response:
        return Response(orjson.dumps((time.perf_counter() - request.scope[FIRST_BYTE]) * 1000))


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with _serving(Shop()) as running:
        yield running


@asynccontextmanager
async def _serving(shop: Shop) -> AsyncIterator[Shop]:
    listener = listening_socket("127.0.0.1", 0)
    shop.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(serve(shop.app, SETTINGS, stop=shop.stop, listener=listener))
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(shop.address + "/wait")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.02)
    yield shop
    shop.gate.set()
    shop.stop.set()
    await serving


async def test_a_request_under_way_is_finished_and_new_ones_are_not_begun(shop: Shop) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        under_way = asyncio.create_task(client.get(shop.address + "/slow"))
        await shop.begun.acquire()
        shop.stop.set()
        await shop.draining.wait()
        async with asyncio.timeout(20):
            while not await _is_refused(shop):
                await asyncio.sleep(0.02)
        shop.gate.set()

        assert (await under_way).text == "done"


async def test_a_wait_for_a_turn_counts_from_the_first_byte(shop: Shop) -> None:
    reader, writer = await asyncio.open_connection(*_host_and_port(shop))
    # A request whose rest comes 200 ms after its first byte.
    writer.write(b"GET /wait HTTP/1.1\r\n")
    await asyncio.sleep(0.2)
    writer.write(b"Host: shop\r\nConnection: close\r\n\r\n")

    answer = await reader.read()

    writer.close()
    assert float(answer.rpartition(b"\r\n\r\n")[2]) >= 190


async def test_one_connection_too_many_is_told_to_come_back(shop: Shop) -> None:
    held: list[asyncio.StreamWriter] = []
    refused = b""
    while not refused:
        reader, writer = await asyncio.open_connection(*_host_and_port(shop))
        writer.write(b"GET /slow HTTP/1.1\r\nHost: shop\r\n\r\n")
        held.append(writer)
        reading, begun = asyncio.create_task(reader.read()), asyncio.create_task(shop.begun.acquire())
        await asyncio.wait({reading, begun}, return_when=asyncio.FIRST_COMPLETED)
        refused = reading.result() if reading.done() else b""
        reading.cancel()
        begun.cancel()

    for writer in held:
        writer.close()
    # The fixture's own connection may still have been counted.
    assert SETTINGS.connections_max <= len(held) <= SETTINGS.connections_max + 1
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in refused
    assert orjson.loads(refused.rpartition(b"\r\n\r\n")[2])["wanted"] == "at most 3 connections"


async def test_what_is_no_http_gets_a_problem_too(shop: Shop) -> None:
    reader, writer = await asyncio.open_connection(*_host_and_port(shop))
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")

    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


async def test_no_query_string_is_logged(everything_logged: io.StringIO) -> None:
    async with _serving(Shop()) as shop, httpx.AsyncClient(trust_env=False) as client:
        # The client logs its own addresses; the server is asked over a bare socket.
        del client
        reader, writer = await asyncio.open_connection(*_host_and_port(shop))
        writer.write(b"GET /wait?key=wk_do_not_log&visitor=anna HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert "wk_do_not_log" not in everything_logged.getvalue()


async def test_two_processes_may_listen_on_one_port() -> None:
    first = listening_socket("127.0.0.1", 0)
    second = listening_socket("127.0.0.1", first.getsockname()[1])

    assert first.getsockname() == second.getsockname()
    assert isinstance(first, socket.socket)
    first.close()
    second.close()


async def _is_refused(shop: Shop) -> bool:
    try:
        _, writer = await asyncio.open_connection(*_host_and_port(shop))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def _host_and_port(shop: Shop) -> tuple[str, int]:
    url = httpx.URL(shop.address)
    assert url.port is not None
    return url.host, url.port
