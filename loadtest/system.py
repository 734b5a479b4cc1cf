"""Start the whole system as a user would, with `afterclick up`, and read its keys; for benchmarks and tests."""

import asyncio
import os
import re
import signal
import sys
import tomllib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from loadtest.errors import InputError, ServerUnavailableError

_READY = re.compile(r"Afterclick is ready at (\S+)")
_TAIL_LINES = 40


class Keys(msgspec.Struct, frozen=True):
    """What `<data-dir>/keys.toml` holds."""

    write_key: str
    secret_key: str


class RunningSystem(msgspec.Struct, frozen=True):
    """A system that answers at `url`; `pid` is its supervisor."""

    url: str
    keys: Keys
    pid: int
    data_dir: Path


def read_keys(data_dir: Path) -> Keys:
    """The keys of the installation in `data_dir`.

    Raises:
        InputError: there is no such file, or it is not one of ours.
    """
    path = data_dir / "keys.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Keys)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(
            wanted="write_key and secret_key in keys.toml of the data folder",
            got=f"{path}: {error}",
            next_step="name the folder that `afterclick up --data-dir` was given",
        ) from error


@asynccontextmanager
async def running_system(
    data_dir: Path, *, arguments: Sequence[str] = (), ready_within_s: float = 120.0, stop_within_s: float = 30.0
) -> AsyncIterator[RunningSystem]:
    """`afterclick up` on a free port with everything under `data_dir`; stopped by Ctrl-C's signal at the end.

    Raises:
        ServerUnavailableError: not ready in time; shows the last lines it wrote.
    """
    command = [sys.executable, "-m", "afterclick", "up", "--data-dir", str(data_dir), "--port", "0", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    said: deque[str] = deque(maxlen=_TAIL_LINES)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    listening = asyncio.create_task(_listen(process, said, ready))
    try:
        url = await _address(ready, said, ready_within_s)
        yield RunningSystem(url, read_keys(data_dir), process.pid, data_dir)
    finally:
        await _stop(process, stop_within_s)
        await listening


async def _address(ready: asyncio.Future[str], said: Sequence[str], within_s: float) -> str:
    try:
        async with asyncio.timeout(within_s):
            return await ready
    except TimeoutError as error:
        raise ServerUnavailableError(_not_ready(f"none within {within_s:g} s", said)) from error


async def _listen(process: asyncio.subprocess.Process, said: deque[str], ready: asyncio.Future[str]) -> None:
    """Read all it writes, so that a full pipe never stops it; the address goes to `ready`."""
    assert process.stdout is not None
    async for raw in process.stdout:
        line = raw.decode("utf-8", "replace").rstrip()
        said.append(line)
        if not ready.done() and (found := _READY.search(line)):
            ready.set_result(found[1])
    if not ready.done():
        ready.set_exception(ServerUnavailableError(_not_ready(f"exit status {await process.wait()}", said)))


def _not_ready(got: str, said: Sequence[str]) -> str:
    tail = "\n".join(said)
    return f"wanted the line `Afterclick is ready at ...` from `afterclick up`; got {got}. It said last:\n{tail}"


async def _stop(process: asyncio.subprocess.Process, within_s: float) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        # Its own session: nothing that it started is left behind.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
