"""How long after its 202 an event shows in the visitor's recent items, watched from outside."""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from loadtest.client import Client
from loadtest.errors import ConnectionLostError
from loadtest.files import Row
from loadtest.percentiles import Percentiles, percentiles_of

SHOWN = frozenset({"view_item", "add_to_cart", "purchase"})
"""Events that are sure to be in a visitor's recent items."""
POLL_S, GIVE_UP_S = 0.002, 10.0


class FreshnessReport(msgspec.Struct, frozen=True):
    """From the 202 to the first answer of `/v1/visitors/{id}/recent` that has the item; polled every 2 ms.

    `timeouts`: not shown within 10 s. `unmeasured`: why there is nothing, or None.
    """

    latency: Percentiles
    timeouts: int
    unmeasured: str | None


class _RecentItem(msgspec.Struct):
    item_id: str


class _Recent(msgspec.Struct):
    items: list[_RecentItem] = []


class FreshnessProbe:
    """Watches one event at a time, each `every`-th batch's last; what comes while it watches is passed over."""

    def __init__(self, client: Client, *, every: int) -> None:
        self._client = client
        self._every = every
        self._batches = 0
        self._watch: asyncio.Task[None] | None = None
        self._times_s: list[float] = []
        self._timeouts = 0
        self._unmeasured: str | None = None if every else "switched off"

    def acknowledged(self, rows: Sequence[Row], at_s: float) -> None:
        """A batch of `rows` was answered with 202 at `at_s` (monotonic)."""
        if self._unmeasured is not None:
            return
        self._batches += 1
        busy = self._watch is not None and not self._watch.done()
        if busy or self._batches % self._every:
            return
        # An item the visitor had before would be seen at once, whether this event is in or not.
        row = next((row for row in reversed(rows) if row.event in SHOWN and not row.item_known), None)
        if row is not None and row.item is not None:
            self._watch = asyncio.create_task(self._until_shown(row.visitor, row.item, at_s))

    async def _until_shown(self, visitor: str, item: str, at_s: float) -> None:
        target = f"/v1/visitors/{quote(visitor, safe='')}/recent"
        while time.monotonic() - at_s < GIVE_UP_S:
            try:
                response = await self._client.request("GET", target)
            except ConnectionLostError:
                await asyncio.sleep(0.1)
                continue
            if response.status in {401, 403, 404, 405}:
                self._unmeasured = f"GET /v1/visitors/(id)/recent answered {response.status}"
                return
            if response.status == 200:
                recent = msgspec.json.decode(response.body, type=_Recent)
                if any(shown.item_id == item for shown in recent.items):
                    self._times_s.append(time.monotonic() - at_s)
                    return
            await asyncio.sleep(POLL_S)
        self._timeouts += 1

    async def finish(self) -> None:
        """Wait for the event that is being watched."""
        if self._watch is not None:
            await self._watch

    def report(self) -> FreshnessReport:
        """What was seen so far."""
        return FreshnessReport(percentiles_of(self._times_s), self._timeouts, self._unmeasured)
