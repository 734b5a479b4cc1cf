"""Bring deltas and announcements onto the topic `model`, in their order, as often as it takes."""

import asyncio
from collections import deque
from collections.abc import Awaitable

from prometheus_client import Counter, Gauge

from ingest.bus.contract import Bus, Position, Record
from ingest.errors import BusError
from ingest.topics import MODEL

_PACK_RECORDS_MAX = 64
_RETRY_S = 0.1

_published = Counter("afterclick_recommender_model_entries_published_total", "Entries of `model` durably on the bus")
_repeated = Counter(
    "afterclick_recommender_model_entries_repeated_total", "Entries of `model` that had to be sent again"
)
_pending = Gauge(
    "afterclick_recommender_model_entries_pending", "Entries waiting for the bus", multiprocess_mode="livesum"
)


class ModelPublisher:
    """A queue in front of the bus; `full` tells the learner to take no more events until there is room.

    Attributes:
        position: of the last entry that is durably there; None before the first.
    """

    def __init__(self, bus: Bus, *, pending_max: int) -> None:
        self._bus = bus
        self._pending_max = pending_max
        self._pending: deque[tuple[Record, Awaitable[object] | None]] = deque()
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.position: Position | None = None

    @property
    def full(self) -> bool:
        """Does as much wait as may?"""
        return len(self._pending) >= self._pending_max

    @property
    def pending(self) -> int:
        """Entries that wait."""
        return len(self._pending)

    def add(self, block: str, payload: bytes, event_time_ms: int, *, after: Awaitable[object] | None = None) -> None:
        """Queue an entry. `after`: it, and all behind it, wait for this; when that fails, `run` fails with it."""
        self._pending.append((Record(block.encode(), payload, event_time_ms), after))
        self._changed.set()
        self._empty.clear()

    async def drained(self, running: "asyncio.Task[None]", *, within_s: float) -> None:
        """Wait until nothing waits, `running` (this publisher's `run`) has ended, or the time is over."""
        nothing = asyncio.create_task(self._empty.wait())
        await asyncio.wait({nothing, running}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        nothing.cancel()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            if not self._pending:
                self._changed.clear()
                await self._changed.wait()
            await self.flush()

    async def flush(self) -> None:
        """Publish what is queued, in order; after a refusal again from there on, so that no gap lasts."""
        while self._pending:
            pack = await self._next_pack()
            verdicts = await self._bus.publish(MODEL, pack)
            for verdict in verdicts:
                if isinstance(verdict, BusError):
                    _repeated.inc(len(pack))
                    await asyncio.sleep(_RETRY_S)
                    break
                self.position = verdict
                self._pending.popleft()
                _published.inc()
            _pending.set(len(self._pending))
        self._empty.set()

    async def _next_pack(self) -> list[Record]:
        pack: list[Record] = []
        for record, after in list(self._pending)[:_PACK_RECORDS_MAX]:
            if after is not None:
                if pack:
                    break
                await after
            pack.append(record)
        return pack
