"""Kill parts of a running system at seeded instants while a file is replayed, and watch the shop meanwhile."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from loadtest.system import RunningSystem

Kill = Callable[[], Awaitable[None]]


class ShopWatch:
    """Asks for suggestions all the time, each on a new connection as another visitor's browser would."""

    def __init__(self, system: RunningSystem) -> None:
        self._system = system
        self.answered = 0
        self.unanswered = 0
        self.statuses: set[int] = set()
        self.longest_gap_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        last_s = time.monotonic()
        while not stop.is_set():
            try:
                async with httpx.AsyncClient(timeout=2.0) as client:
                    answer = await client.get(
                        f"{self._system.url}/v1/recommendations",
                        params={"visitor": f"watch-{self.answered % 7}", "n": 5, "key": self._system.keys.write_key},
                    )
                self.statuses.add(answer.status_code)
                self.answered += 1
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last_s)
                last_s = time.monotonic()
            except httpx.HTTPError:
                self.unanswered += 1
            await asyncio.sleep(0.05)


async def disturb(kills: Mapping[str, Kill], *, times: int, seed: int, gap_s: tuple[float, float]) -> list[str]:
    """Each part `times` times, in a seeded order with seeded gaps; returns what was killed, in order."""
    chance = random.Random(seed)
    order = [name for name in kills for _ in range(times)]
    chance.shuffle(order)
    for name in order:
        await asyncio.sleep(chance.uniform(*gap_s))
        await kills[name]()
    return order


def kill_part(data_dir: Path, name: str) -> Kill:
    """`kill -9` of a part of the supervisor's, once it is (again) there."""

    async def kill() -> None:
        deadline_s = time.monotonic() + 30
        while True:
            pid = json.loads((data_dir / "run" / "pids.json").read_bytes()).get(name)
            try:
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    return
            except ProcessLookupError:
                pass
            assert time.monotonic() < deadline_s, f"{name} did not come back"
            await asyncio.sleep(0.05)

    return kill
