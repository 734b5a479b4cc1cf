"""Whose events are to be forgotten: the topic `tombstones`, followed, and what it hides from every reader of events."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from prometheus_client import Counter

from ingest.bus.contract import Bus, Published, Record, Table
from ingest.errors import BusError, BusUnavailableError
from ingest.events import Event
from ingest.topics import TOMBSTONES

REFRESH_MS = 500
"""How often a reader looks for new ones, at most."""

_HIDDEN = Counter("afterclick_ingest_erased_events_hidden_total", "Events of erased visitors left out", ["reader"])
_LOOKS_FAILED = Counter("afterclick_ingest_tombstone_looks_failed_total", "Times the bus did not tell what was erased")


class Tombstone(msgspec.Struct, frozen=True):
    """Under a visitor's key: all of theirs that the collector had by then is to be forgotten."""

    erased_at_ms: Annotated[int, msgspec.Meta(ge=0)]


class Tombstones:
    """What has been erased, as far as this reader has heard. Ask `refresh` before each read.

    `reader` names it in the metrics.
    """

    def __init__(
        self, table: Table, *, reader: str, clock_s: Callable[[], float] = time.monotonic, refresh_ms: int = REFRESH_MS
    ) -> None:
        self._table = table
        self._erased_at_ms: dict[str, int] = {}
        self._hidden = _HIDDEN.labels(reader)
        self._clock_s = clock_s
        self._refresh_s = refresh_ms / 1000
        self._looked_at_s = -self._refresh_s

    @classmethod
    async def open(cls, bus: Bus, *, reader: str, refresh_ms: int = REFRESH_MS) -> "Tombstones":
        """Follow the topic, which is made where an older release has not.

        Raises:
            BusUnavailableError: without knowing what was erased, nothing may be read.
        """
        await bus.ensure([TOMBSTONES], partitions=1)
        opened = cls(await bus.table(TOMBSTONES), reader=reader, refresh_ms=refresh_ms)
        await opened.refresh()
        return opened

    def __len__(self) -> int:
        return len(self._erased_at_ms)

    @property
    def keys(self) -> dict[str, int]:
        """Until when everything of it is hidden, by visitor key (32 hex digits); a copy."""
        return dict(self._erased_at_ms)

    async def refresh(self) -> list[bytes]:
        """Take in what was erased since the last time, twice a second at most; returns these keys.

        A bus that does not answer is counted, and asked again: it gives nothing to hide meanwhile either.
        """
        now_s = self._clock_s()
        if now_s - self._looked_at_s < self._refresh_s:
            return []
        self._looked_at_s = now_s
        try:
            changes = await self._table.changes(wait_ms=0)
        except BusUnavailableError:
            _LOOKS_FAILED.inc()
            return []
        erased = [(entry.key, entry.payload) for entry in changes if entry.payload is not None]
        for key, payload in erased:
            self._erased_at_ms[key.hex()] = msgspec.json.decode(payload, type=Tombstone).erased_at_ms
        return [key for key, _ in erased]

    def hides(self, event: Event) -> bool:
        """Is it of someone who was erased after it came? A visitor who comes back later is seen again."""
        erased = self._erased_at_ms
        if not erased:
            return False
        return any(
            erased.get(key, -1) >= event.received_at_ms
            for key in (event.visitor_key, event.user_key, event.browser_key)
            if key is not None
        )

    def count_hidden(self, events: int) -> None:
        """Note that so many events were left out."""
        self._hidden.inc(events)

    async def close(self) -> None:
        """Stop following."""
        await self._table.close()


async def erase(bus: Bus, visitor_keys: Sequence[bytes], *, erased_at_ms: int) -> None:
    """Have every reader forget these visitors; returns when that is durable.

    Raises:
        BusUnavailableError: some of it may be durable; do it again.
    """
    payload = msgspec.json.encode(Tombstone(erased_at_ms))
    verdicts: list[Published] = await bus.publish(
        TOMBSTONES, [Record(key, payload, erased_at_ms) for key in visitor_keys]
    )
    for verdict in verdicts:
        if isinstance(verdict, BusError):
            raise BusUnavailableError(f"erasure: wanted it durable; got {verdict}; ask again") from verdict
