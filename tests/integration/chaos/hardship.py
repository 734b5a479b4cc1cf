"""Ask a running system all the time while something is done to it, and keep what came back."""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from loadtest.system import RunningSystem

BUDGETS_MS = (1_000, 200, 50, 10, 5, 3, 2)
SLICE_MS = 10
"""How long a busy machine may put a process aside, in the middle of an answer too; no budget can know of it."""


class Answered(NamedTuple):
    """One response: what it was asked with, and what it said."""

    budget_ms: int
    status: int
    body: dict[str, Any]
    retry_after: str | None

    @property
    def kept_its_word(self) -> bool:
        """Within its budget, or the 503 of overload; late by no more than others may have the core in between."""
        if self.status == 503:
            return self.body["type"] == "/problems/overloaded" and int(self.retry_after or 0) >= 1
        return self.status == 200 and self.body["took_ms"] <= self.budget_ms + SLICE_MS

    @property
    def is_late(self) -> bool:
        """Beyond its budget at all."""
        return self.status == 200 and self.body["took_ms"] > self.budget_ms


async def ask(client: httpx.AsyncClient, visitor: str, budget_ms: int, **more: Any) -> Answered:
    """One call."""
    asked = {"visitor": visitor, "budget_ms": budget_ms, "n": 10, **more}
    response = await client.get("/v1/recommendations", params=asked)
    return Answered(budget_ms, response.status_code, response.json(), response.headers.get("retry-after"))


@asynccontextmanager
async def asking(system: RunningSystem, visitors: Sequence[str], *, callers: int = 4) -> AsyncIterator[list[Answered]]:
    """`callers` that ask without a pause until the block ends, with every budget in turn; what came back, in order."""
    answers: list[Answered] = []
    stop = asyncio.Event()
    async with client_of(system) as client:

        async def call(offset: int) -> None:
            for number in itertools.count(offset):
                if stop.is_set():
                    return
                visitor = visitors[number % len(visitors)]
                answers.append(await ask(client, visitor, BUDGETS_MS[number % len(BUDGETS_MS)]))
                await asyncio.sleep(0.005)

        calling = [asyncio.create_task(call(offset)) for offset in range(callers)]
        try:
            yield answers
        finally:
            stop.set()
            await asyncio.gather(*calling)


def client_of(system: RunningSystem) -> httpx.AsyncClient:
    """Keeps its connections: what is measured is the answer and not the handshake."""
    headers = {"Authorization": f"Bearer {system.keys.write_key}"}
    return httpx.AsyncClient(base_url=system.url, headers=headers, timeout=30)


async def recovered(system: RunningSystem, visitor: str, *, within_s: float = 90) -> None:
    """Wait until `visitor` is answered by the dearest rung again."""
    async with client_of(system) as client:
        deadline_s = time.monotonic() + within_s
        while True:
            answer = await ask(client, visitor, 1_000)
            if answer.status == 200 and answer.body["served_by"] == "ranker" and answer.body["degraded"] is None:
                return
            assert time.monotonic() < deadline_s, f"no recovery within {within_s} s: {answer}"
            await asyncio.sleep(0.1)


def pid_of(system: RunningSystem, part: str) -> int:
    """The process of a part of the supervisor's."""
    pid: int = json.loads((system.data_dir / "run" / "pids.json").read_bytes())[part]
    return pid


@asynccontextmanager
async def paused(system: RunningSystem, part: str) -> AsyncIterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    pid = pid_of(system, part)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
