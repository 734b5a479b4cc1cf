"""Both real buses in turn, and learners that can be killed."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ingest.bus.contract import Bus
from ingest.bus.open import open_bus
from ingest.topics import EVENTS, MODEL
from recommender.kernels import compile_all
from recommender.settings import LearnerSettings

_LIFE = Path(__file__).parent / "learner_life.py"
_ROOT = Path(__file__).parents[3]

Until = Callable[[Callable[[], bool]], Awaitable[None]]


class LearnerProcess:
    """A learner that is started, killed and started again on the same folder."""

    def __init__(self, bus_url: str, folder: Path, settings: LearnerSettings) -> None:
        self.model_dir = folder / "model"
        self._argv = [sys.executable, str(_LIFE), bus_url, str(self.model_dir), str(folder / "archive")]
        self._argv.append(msgspec.json.encode(settings).decode())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, cwd=_ROOT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)


@pytest.fixture(scope="session", autouse=True)
def kernels() -> None:
    compile_all()


@pytest.fixture
async def events_bus(bus_url: str) -> AsyncIterator[Bus]:
    bus = await open_bus(bus_url)
    await bus.ensure([EVENTS, MODEL], partitions=3)
    yield bus
    await bus.close()


@pytest.fixture
def learner(bus_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LearnerProcess]:
    process = LearnerProcess(bus_url, tmp_path, getattr(request, "param", LearnerSettings()))
    yield process
    process.kill()


@pytest.fixture
def until() -> Until:
    """Wait for a condition; the deadline is generous, for two busy cores."""

    async def wait(condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline_s, "it did not come true within 60 s"
            await asyncio.sleep(0.01)

    return wait
