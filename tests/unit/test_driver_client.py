import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from loadtest.client import Client
from loadtest.errors import ConnectionLostError, OptionError

Chunks = list[bytes]


@asynccontextmanager
async def answering(answer: Callable[[int], Chunks | None]) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers the nth request with chunks, a moment apart; None hangs up. Lists its connections."""
    requests = 0
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        connections.append(len(connections))
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                chunks = answer(requests)
                requests += 1
                if chunks is None:
                    break
                for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if chunks and b"until close" in chunks[-1]:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Name: value\r\n\r\nhello"


async def test_reads_an_answer_that_comes_byte_by_byte() -> None:
    async with answering(lambda _: [WHOLE[at : at + 1] for at in range(len(WHOLE))]) as (url, _), Client(url) as client:
        response = await client.request("GET", "/")

    assert (response.status, response.body, response.headers["x-name"]) == (200, b"hello", "value")


async def test_reads_chunked_answers_and_answers_that_end_with_the_connection() -> None:
    chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r", b"\nlo\r\n0\r\n", b"\r\n"]
    ended = [b"HTTP/1.1 200 OK\r\n\r\nuntil close"]
    async with answering(lambda at: ended if at == 1 else chunked) as (url, _), Client(url) as client:
        bodies = [(await client.request("GET", "/")).body for _ in range(3)]

    assert bodies == [b"hello", b"until close", b"hello"]


async def test_keeps_its_connection() -> None:
    async with answering(lambda _: [WHOLE]) as (url, connections), Client(url) as client:
        for _ in range(5):
            await client.request("GET", "/")

    assert connections == [0]


async def test_a_connection_closed_while_idle_is_replaced_without_an_error() -> None:
    async with answering(lambda at: None if at == 1 else [WHOLE]) as (url, connections), Client(url) as client:
        await client.request("GET", "/")
        response = await client.request("GET", "/")

    assert response.status == 200
    assert len(connections) == 2


@pytest.mark.parametrize("broken", [None, [b"SSH-2.0-OpenSSH\r\n\r\n"], [b"HTTP/1.1 abc\r\n\r\n"]])
async def test_no_answer_or_nonsense_is_a_lost_connection(broken: Chunks | None) -> None:
    async with answering(lambda _: broken) as (url, _), Client(url, timeout_s=5) as client:
        with pytest.raises(ConnectionLostError):
            await client.request("GET", "/")


async def test_a_slow_answer_is_given_up_and_does_not_reach_the_next_request() -> None:
    silent_once = answering(lambda at: [b""] if at == 0 else [WHOLE])
    async with silent_once as (url, connections), Client(url, timeout_s=1.0, connections_max=1) as client:
        with pytest.raises(ConnectionLostError, match="within 1 s"):
            await client.request("GET", "/")
        response = await client.request("GET", "/")

    assert response.body == b"hello"
    assert len(connections) == 2


async def test_nobody_listening_is_a_lost_connection() -> None:
    async with answering(lambda _: [WHOLE]) as (url, _):
        pass
    async with Client(url) as client:
        with pytest.raises(ConnectionLostError, match="no connection to 127"):
            await client.request("GET", "/")


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(OptionError, match="http://"):
        Client("127.0.0.1:8080")
