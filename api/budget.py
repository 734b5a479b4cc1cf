"""Time and room for one answer: what is left of its budget, how many are worked on, is the store worth asking."""

import math
import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from api.errors import OverloadedError
from feature_store.errors import FeatureStoreError
from recommender.history import EMPTY_HISTORY, History

Events = tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.uint8], tuple[str, ...]]
"""What a `History` is made of: item ids, times, kinds, and what was shown."""

ReadHistory = Callable[[bytes, float], Awaitable[Events]]
"""`read(visitor_key, within_ms)`: the latest events, in one round trip; keeps the time, or fails with a
`FeatureStoreError`."""

_SHED = Counter("afterclick_api_shed_total", "Requests refused with 503 under overload, by reason", ["reason"])
_STORE_FAILED = Counter("afterclick_api_store_reads_failed_total", "Visitor records not read, by reason", ["reason"])


class Admission:
    """Counts the requests worked on; refuses those past the limit at once instead of letting all of them be late."""

    def __init__(self, *, in_flight_max: int, retry_after_s: int) -> None:
        self._max = in_flight_max
        self._retry_after_s = retry_after_s
        self.in_flight = 0

    def __enter__(self) -> None:
        if self.in_flight >= self._max:
            raise self.refusal("in_flight", f"{self.in_flight} being worked on")
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1

    @property
    def is_half_full(self) -> bool:
        """Should what can wait stand back?"""
        return self.in_flight * 2 >= self._max

    def refusal(self, reason: str, got: str) -> OverloadedError:
        """The 503 to raise, counted."""
        _SHED.labels(reason).inc()
        return OverloadedError(
            "overloaded",
            wanted=f"at most {self._max} requests at once, each begun within its budget",
            got=got,
            next_step="show the page without suggestions and ask again after Retry-After",
            retry_after_s=self._retry_after_s,
        )


class Deadline:
    """When an answer is due, counted from the first byte of its request (`time.perf_counter`)."""

    __slots__ = ("_due_s", "_first_byte_s")

    def __init__(self, first_byte_s: float, budget_ms: int) -> None:
        self._first_byte_s = first_byte_s
        self._due_s = first_byte_s + budget_ms / 1000

    def left_ms(self) -> float:
        """What is left of the budget; negative when it is overdrawn."""
        return (self._due_s - time.perf_counter()) * 1000

    def took_ms(self) -> float:
        """What has been used."""
        return (time.perf_counter() - self._first_byte_s) * 1000


class Closing:
    """Streaming p99 of what an answer takes after its ranking: a rung that just fits must leave time for it.

    Until 32 answers have been closed `PRIOR_MS` stands in.
    """

    PRIOR_MS = 0.5
    _WINDOW = 512
    _REFRESH = 32

    def __init__(self) -> None:
        self._durations_ms = np.zeros(self._WINDOW)
        self._count = 0
        self.p99_ms = self.PRIOR_MS

    def record(self, duration_ms: float) -> None:
        """One answer took this long to close."""
        self._durations_ms[self._count % self._WINDOW] = duration_ms
        self._count += 1
        if self._count % self._REFRESH == 0:
            window = self._durations_ms[: min(self._count, self._WINDOW)]
            self.p99_ms = float(np.quantile(window, 0.99, method="higher"))


class StoreGuard:
    """Read a visitor's history within a time; leave a store that keeps failing alone for a while.

    Without the pause every request of an outage would wait out its share of the budget, and as many requests as fit
    into that wait would pile up. It is a matter of time and not of count: one stall of this process fails every read
    that is under way, and says nothing of the store.
    """

    def __init__(self, read: ReadHistory, *, failing_ms_max: int, retry_ms: int) -> None:
        self._read = read
        self._failing_s_max = failing_ms_max / 1000
        self._retry_s = retry_ms / 1000
        self._failing_since_s = math.inf
        self._try_at_s = 0.0

    async def history(self, visitor_key: bytes, *, within_ms: float) -> tuple[History, bool]:
        """The history and True, or an empty one and False when the store did not give it in time."""
        if within_ms <= 0:
            _STORE_FAILED.labels("no_time").inc()
            return EMPTY_HISTORY, False
        if not self._may_try():
            _STORE_FAILED.labels("left_alone").inc()
            return EMPTY_HISTORY, False
        try:
            history = History(*await self._read(visitor_key, within_ms))
        except FeatureStoreError as error:
            self._failing_since_s = min(self._failing_since_s, time.monotonic())
            _STORE_FAILED.labels(type(error).__name__).inc()
            return EMPTY_HISTORY, False
        self._failing_since_s = math.inf
        return history, True

    def _may_try(self) -> bool:
        """Yes, while it works or has failed for a short time only; else one request per pause goes and looks."""
        if self._failing_since_s == math.inf:
            return True
        now_s = time.monotonic()
        if now_s - self._failing_since_s < self._failing_s_max:
            return True
        if now_s < self._try_at_s:
            return False
        self._try_at_s = now_s + self._retry_s
        return True
