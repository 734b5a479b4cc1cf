"""The supervisor restarts what dies, stops what it started, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from afterclick.errors import PartFailedError, SettingsError
from afterclick.supervisor import Part, Supervisor

SLEEPER = Part("sleeper", (sys.executable, "-c", "import time; time.sleep(600)"))


async def _eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        await asyncio.sleep(0.05)


async def test_a_killed_part_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "run")
    await supervisor.start(SLEEPER)
    first_pid = supervisor.pids()["sleeper"]

    os.kill(first_pid, signal.SIGKILL)

    try:
        await _eventually(lambda: supervisor.pids().get("sleeper", first_pid) != first_pid)
    finally:
        await supervisor.stop()


async def test_a_part_that_nobody_waits_for_stands_back(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "run")
    behind = Part("behind", SLEEPER.argv, nice=7)
    await supervisor.start(SLEEPER, behind)

    try:
        niceness = {name: psutil.Process(pid).nice() for name, pid in supervisor.pids().items()}
        assert niceness["behind"] == min(niceness["sleeper"] + 7, 19)
    finally:
        await supervisor.stop()


async def test_stop_ends_every_part_even_a_paused_one(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "run")
    await supervisor.start(SLEEPER)
    pid = supervisor.pids()["sleeper"]
    os.kill(pid, signal.SIGSTOP)

    await supervisor.stop()

    assert not psutil.pid_exists(pid)


async def test_a_part_that_never_gets_ready_is_named_with_its_log(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    supervisor = Supervisor(tmp_path / "run")
    try:
        with pytest.raises(PartFailedError, match=r"sleeper\.log"):
            await supervisor.start(Part("sleeper", SLEEPER.argv, ready=never, ready_within_s=0.3))
    finally:
        await supervisor.stop()


async def test_parts_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import asyncio, pathlib, sys
        from afterclick.supervisor import Part, Supervisor
        async def main():
            supervisor = Supervisor(pathlib.Path({str(tmp_path / "run")!r}))
            await supervisor.start(Part("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
            print(supervisor.pids()["sleeper"], flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

        parent.kill()

        await _eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("mine")

    with pytest.raises(SettingsError, match=r"log must be a folder .* choose another --data-dir"):
        Supervisor(tmp_path / "run")

    assert (tmp_path / "log").read_text() == "mine"
