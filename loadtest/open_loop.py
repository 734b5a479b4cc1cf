"""Start requests at a fixed rate, whatever the answers do, and time each from when it should have started."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.client import Client
from loadtest.errors import ConnectionLostError

CONNECTION_LOST = 0
"""Stands in for a status where no answer came."""


class Call(NamedTuple):
    """One request to make. `weight`: what it counts for in the rate (events in a batch)."""

    method: str
    target: str
    body: bytes = b""
    weight: int = 1


class Samples:
    """What was seen, one entry a request, in order of completion. Times in seconds since the loop's start.

    `latency_s` counts from the intended start, so that a stall of the server is felt by all who came during it
    (no coordinated omission); `service_s` from the writing of the request; `delay_s` is what lies between the two: the
    driver's own lateness, and waiting for a free connection.
    """

    def __init__(self) -> None:
        self.intended_s: list[float] = []
        self.latency_s: list[float] = []
        self.service_s: list[float] = []
        self.delay_s: list[float] = []
        self.status: list[int] = []
        self.weight: list[int] = []
        self.rungs: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.short_lists = 0
        self.dropped = 0

    def add(self, call: Call, *, intended_s: float, ended_s: float, service_s: float, status: int) -> None:
        """Note one request that ended."""
        self.intended_s.append(intended_s)
        self.latency_s.append(ended_s - intended_s)
        self.service_s.append(service_s)
        self.delay_s.append(max(0.0, ended_s - intended_s - service_s))
        self.status.append(status)
        self.weight.append(call.weight)

    def since(self, start_s: float) -> "Measured":
        """The entries that should have started at or after `start_s`."""
        intended = np.asarray(self.intended_s, np.float64)
        kept = intended >= start_s
        return Measured(
            intended_s=intended[kept] - start_s,
            latency_s=np.asarray(self.latency_s, np.float64)[kept],
            service_s=np.asarray(self.service_s, np.float64)[kept],
            delay_s=np.asarray(self.delay_s, np.float64)[kept],
            status=np.asarray(self.status, np.int64)[kept],
            weight=np.asarray(self.weight, np.int64)[kept],
        )


class Measured(NamedTuple):
    """Samples as arrays, all shape (requests,); times in seconds."""

    intended_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    service_s: NDArray[np.float64]
    delay_s: NDArray[np.float64]
    status: NDArray[np.int64]
    weight: NDArray[np.int64]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests had the answer they wanted."""
        return (self.status >= 200) & (self.status < 300)


class _Answer(msgspec.Struct):
    items: list[msgspec.Raw] = []
    served_by: str = "unknown"
    degraded: str | None = None


async def open_loop(
    client: Client,
    next_call: Callable[[], Call],
    *,
    calls_per_s: float,
    seconds: float,
    in_flight_max: int,
    samples: Samples,
    n_wanted: int | None = None,
) -> None:
    """Start `calls_per_s` requests a second for `seconds`, then wait for those under way; fills `samples`.

    Args:
        n_wanted: the answers are lists of suggestions of this length; rungs and short lists are counted.
    """
    # Not the loop's clock: uvloop's counts whole milliseconds.
    clock = time.perf_counter
    start_s = clock()
    total = int(calls_per_s * seconds)
    under_way: set[asyncio.Task[None]] = set()
    started = 0
    while started < total:
        due = min(total, int((clock() - start_s) * calls_per_s) + 1)
        for at in range(started, due):
            if len(under_way) >= in_flight_max:
                samples.dropped += 1
                continue
            coroutine = _one(client, next_call(), start_s, at / calls_per_s, samples, n_wanted)
            task = asyncio.create_task(coroutine)
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        started = due
        await asyncio.sleep(max(0.0, start_s + started / calls_per_s - clock()))
    if under_way:
        await asyncio.wait(under_way)


async def closed_loop(
    client: Client, next_call: Callable[[], Call], *, callers: int, seconds: float, samples: Samples, n_wanted: int
) -> None:
    """`callers` ask as fast as they are answered, for `seconds`; fills `samples`."""
    clock = time.perf_counter
    start_s = clock()

    async def call_on() -> None:
        while (now_s := clock() - start_s) < seconds:
            await _one(client, next_call(), start_s, now_s, samples, n_wanted)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call_on())


async def _one(
    client: Client, call: Call, start_s: float, intended_s: float, samples: Samples, n_wanted: int | None
) -> None:
    clock = time.perf_counter
    began_s = clock() - start_s
    try:
        response = await client.request(call.method, call.target, body=call.body)
    except ConnectionLostError:
        ended_s = clock() - start_s
        samples.add(call, intended_s=intended_s, ended_s=ended_s, service_s=ended_s - began_s, status=CONNECTION_LOST)
        return
    ended_s = clock() - start_s
    samples.add(call, intended_s=intended_s, ended_s=ended_s, service_s=response.took_s, status=response.status)
    if n_wanted is not None and response.status == 200:
        _look_at(response.body, samples, n_wanted)


def _look_at(body: bytes, samples: Samples, n_wanted: int) -> None:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        samples.rungs["not suggestions"] += 1
        return
    samples.rungs[answer.served_by] += 1
    samples.degraded[answer.degraded or "not degraded"] += 1
    samples.short_lists += len(answer.items) < n_wanted
