"""Two listeners on one port: one leaves, and no connection is lost."""

import asyncio
import socket

from api.server import listening_socket
from api.steering import share_again, steer_away


class _Listener:
    """Accepts and remembers; says one byte to each."""

    def __init__(self, port: int) -> None:
        self.socket = listening_socket("127.0.0.1", port)
        self.port: int = self.socket.getsockname()[1]
        self.peers: set[tuple[str, int]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._greet, sock=self.socket)
        share_again(self.socket)

    async def stop(self) -> None:
        self._server.close()

    async def _greet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.add(writer.get_extra_info("peername")[:2])
        writer.write(b"!")
        writer.close()


async def _connect(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read(1) == b"!"
    writer.close()


async def _two() -> tuple[_Listener, _Listener]:
    first = _Listener(0)
    second = _Listener(first.port)
    await first.start()
    await second.start()
    return first, second


async def test_who_leaves_gets_no_more_and_who_joins_gets_some() -> None:
    for leaves_first in (True, False):
        first, second = await _two()
        leaver, stayer = (first, second) if leaves_first else (second, first)
        await steer_away(leaver.socket, leaver.peers.__contains__)
        leaver.peers.clear()

        await asyncio.gather(*[_connect(first.port) for _ in range(100)])

        assert not leaver.peers
        assert len(stayer.peers) >= 100
        await leaver.stop()
        joiner = _Listener(first.port)
        await joiner.start()
        await asyncio.gather(*[_connect(first.port) for _ in range(200)])
        assert joiner.peers
        assert len(joiner.peers) < 200
        await stayer.stop()
        await joiner.stop()


async def test_alone_on_a_port_one_goes_on_being_asked() -> None:
    alone = _Listener(0)
    await alone.start()

    await steer_away(alone.socket, alone.peers.__contains__)
    await _connect(alone.port)

    assert isinstance(alone.socket, socket.socket)
    await alone.stop()


async def test_connections_of_the_moment_of_leaving_are_answered() -> None:
    first, second = await _two()
    stop = asyncio.Event()

    async def keep_connecting() -> int:
        count = 0
        while not stop.is_set():
            await _connect(first.port)
            count += 1
        return count

    connecting = [asyncio.create_task(keep_connecting()) for _ in range(8)]
    await asyncio.sleep(0.2)
    await steer_away(first.socket, first.peers.__contains__)
    await asyncio.sleep(0.1)
    await first.stop()
    await asyncio.sleep(0.2)
    stop.set()

    assert sum(await asyncio.gather(*connecting)) > 50
    await second.stop()
