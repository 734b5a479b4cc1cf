"""Start the parts of one machine, restart what dies, stop everything together."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from afterclick.errors import PartFailedError
from afterclick.folders import made_folder

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 5.0
_STEADY_AFTER_S = 20.0
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger()

Probe = Callable[[], Awaitable[bool]]
"""Is the part ready? Never raises."""


class Part(msgspec.Struct, frozen=True):
    """One process: how it is started and when it counts as ready.

    `ready`: None when nothing waits for it. `stop_within_s`: after SIGTERM, before SIGKILL. `nice`: how far it stands
    back where cores are short (0 to 19).
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}
    ready: Probe | None = None
    ready_within_s: float = 60.0
    stop_within_s: float = 15.0
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0


class _Running:
    """A part with its process, watched by a task."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.watcher: asyncio.Task[None] | None = None


class Supervisor:
    """Owns the processes of one machine; what was started together is stopped together, the newest first.

    Raises:
        SettingsError: where its folders should be stands something else.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._log_dir = run_dir.parent / "log"
        self._groups: list[list[_Running]] = []
        self._stopping = False
        made_folder(run_dir)
        made_folder(self._log_dir)

    def pids(self) -> dict[str, int]:
        """Process id by part name, of the parts that run now."""
        return {
            r.part.name: r.process.pid
            for group in self._groups
            for r in group
            if r.process and r.process.returncode is None
        }

    async def start(self, *parts: Part) -> None:
        """Start `parts` side by side and wait until each is ready.

        Raises:
            PartFailedError: one was not ready in time; names its log.
        """
        started = [_Running(part) for part in parts]
        self._groups.append(started)
        for running in started:
            await self._spawn(running)
            running.watcher = asyncio.create_task(self._watch(running), name=f"watch-{running.part.name}")
        await asyncio.gather(*(self._until_ready(running) for running in started))

    async def stop(self) -> None:
        """SIGTERM to each group, the newest first; SIGKILL to what does not go. Idempotent."""
        self._stopping = True
        for group in reversed(self._groups):
            for running in group:
                if running.watcher:
                    running.watcher.cancel()
            await asyncio.gather(*(_stop_process(running) for running in group))
        self._groups.clear()
        self._write_pids()

    async def _spawn(self, running: _Running) -> None:
        part = running.part
        with (self._log_dir / f"{part.name}.log").open("ab") as log_file:
            running.process = await asyncio.create_subprocess_exec(
                *part.argv,
                env={**os.environ, **part.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                # A session of its own: Ctrl-C reaches the supervisor alone, which stops the parts in order.
                start_new_session=True,
                preexec_fn=partial(_begin, part.nice),
            )
        self._write_pids()

    async def _watch(self, running: _Running) -> None:
        backoff_s = _BACKOFF_FIRST_S
        while not self._stopping:
            assert running.process is not None
            born_s = time.monotonic()
            code = await running.process.wait()
            if self._stopping:
                return
            if time.monotonic() - born_s > _STEADY_AFTER_S:
                backoff_s = _BACKOFF_FIRST_S
            running.restarts += 1
            log.warning("part died, restarting", part=running.part.name, exit_code=code, after_s=round(backoff_s, 1))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            await self._spawn(running)

    async def _until_ready(self, running: _Running) -> None:
        part = running.part
        if part.ready is None:
            return
        deadline_s = time.monotonic() + part.ready_within_s
        while not await part.ready():
            if time.monotonic() > deadline_s:
                raise PartFailedError(
                    f"{part.name} must be ready within {part.ready_within_s:.0f} s, it is not "
                    f"(restarted {running.restarts} times); read {self._log_dir / (part.name + '.log')}"
                )
            await asyncio.sleep(0.02)

    def _write_pids(self) -> None:
        pids_file = self._run_dir / "pids.json"
        aside = pids_file.with_suffix(".tmp")
        aside.write_bytes(msgspec.json.encode({"supervisor": os.getpid(), **self.pids()}))
        aside.rename(pids_file)


async def _stop_process(running: _Running) -> None:
    process = running.process
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        # A stopped (SIGSTOP) part would never see the SIGTERM.
        process.send_signal(signal.SIGCONT)
    try:
        await asyncio.wait_for(process.wait(), running.part.stop_within_s)
    except TimeoutError:
        log.warning("part did not stop, killing it", part=running.part.name, after_s=running.part.stop_within_s)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _begin(nice: int) -> None:
    """In the child, before exec: stand back, and take SIGTERM when the supervisor is gone, however it went."""
    os.nice(nice)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
