"""Server processes are restarted one after the other under load, and no request is lost."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio

from loadtest.system import RunningSystem, running_system
from tests.integration.chaos.hardship import pid_of

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSystem]:
    folder: Path = tmp_path_factory.mktemp("rolling")
    async with running_system(folder / "data", ready_within_s=180) as running:
        yield running


class Caller:
    """Asks for suggestions; `keeps`: on one connection as long as it is open, as browsers and shops do."""

    def __init__(self, system: RunningSystem, *, keeps: bool) -> None:
        self._address = urlsplit(system.url)
        self._keeps = keeps
        connection = "" if keeps else "Connection: close\r\n"
        self._request = (
            f"GET /v1/recommendations?visitor=v&budget_ms=1000 HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"X-Afterclick-Key: {system.keys.write_key}\r\n{connection}\r\n"
        ).encode()
        self.answered = 0
        self.lost: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not stop.is_set():
            fresh = writer is None
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
                writer.write(self._request)
                closes = await self._answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                # A kept connection that the server closed before it read the request: HTTP lets a client repeat it.
                if fresh:
                    self.lost.append(repr(error))
                reader = writer = None
                continue
            self.answered += 1
            if closes or not self._keeps:
                writer.close()
                reader = writer = None
            await asyncio.sleep(0.005)
        if writer is not None:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        await reader.readexactly(length)
        if head.split(" ")[1] != "200":
            self.lost.append(head.split("\r\n")[0])
        return "connection: close" in head


async def test_no_request_is_lost_while_servers_are_restarted_in_turn(system: RunningSystem) -> None:
    stop = asyncio.Event()
    callers = [Caller(system, keeps=number % 2 == 0) for number in range(8)]
    calling = [asyncio.create_task(caller.run(stop)) for caller in callers]

    for part in ("server-1", "server-2", "server-1", "server-2"):
        before = pid_of(system, part)
        await asyncio.sleep(0.5)
        os.kill(before, signal.SIGTERM)
        await _is_back(system, part, before)

    stop.set()
    await asyncio.gather(*calling)
    lost = [loss for caller in callers for loss in caller.lost]
    answered = sum(caller.answered for caller in callers)
    assert answered > 500
    assert lost == [], f"{len(lost)} of {answered} lost"


async def _is_back(system: RunningSystem, part: str, before: int) -> None:
    """Until the part runs anew and listens, and the port has been answered for a while by both."""
    deadline_s = time.monotonic() + 120
    port = urlsplit(system.url).port
    while (pid := _pid(system, part)) in {before, None} or not _listens(pid, port):
        assert time.monotonic() < deadline_s, f"{part} did not come back"
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)


def _listens(pid: int | None, port: int | None) -> bool:
    with contextlib.suppress(psutil.Error):
        open_ = psutil.Process(pid).net_connections("tcp")
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in open_)
    return False


def _pid(system: RunningSystem, part: str) -> int | None:
    try:
        return pid_of(system, part)
    except KeyError:
        return None
