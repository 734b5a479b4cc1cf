"""How long after its 202 an event is in its visitor's suggestions, watched from outside; and what the worker says."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from loadtest.asking import decode_suggestions, suggestions_target
from loadtest.client import Client
from loadtest.errors import ConnectionLostError, RequestRefusedError
from loadtest.files import Row
from loadtest.percentiles import Percentiles, percentiles_of
from loadtest.server_metrics import Histogram, HistogramFigures, read_histogram

OWN_EVENTS = frozenset({"ranker", "blend", "neighbours"})
"""Rungs that answer from the visitor's own events, where no page's item is given."""
WATCHED_KINDS = frozenset({"view_item", "add_to_cart", "purchase"})
ITEM_AGE_ROWS_MIN = 1_000
"""An item must have been in the file for so many rows: of one the model does not know yet no answer can be made."""
POLL_S, GIVE_UP_S, TIMEOUTS_IN_A_ROW_MAX = 0.005, 10.0, 3
WORKER_HISTOGRAM = "afterclick_feature_store_freshness_seconds"


class FreshnessReport(msgspec.Struct, frozen=True):
    """Two views of the same.

    `watched`: from the 202 of a new visitor's first event to the end of the first answer made from it, asked for every
    5 ms. `timeouts`: none within 10 s. `stopped`: why watching ended early, or None.
    `worker`: from the collector to the written records, as the system's own histogram has it for this replay; None
    where it could not be read.
    """

    watched: Percentiles
    timeouts: int
    stopped: str | None
    worker: HistogramFigures | None


class FreshnessProbe:
    """Watches one event at a time, of each `every`-th batch that has a fitting one; watching must not become load."""

    def __init__(self, asking: Client, managing: Client, *, every: int, placement: str) -> None:
        self._asking = asking
        self._managing = managing
        self._every = every
        self._placement = placement
        self._batches = 0
        self._watch: asyncio.Task[None] | None = None
        self._times_s: list[float] = []
        self._timeouts = self._timeouts_in_a_row = 0
        self._stopped: str | None = None if every else "switched off"
        self._before: Histogram | None = None
        self._worker: HistogramFigures | None = None

    async def begin(self) -> None:
        """Read the worker's histogram, so that only this replay is counted."""
        self._before = await read_histogram(self._managing, WORKER_HISTOGRAM)

    def acknowledged(self, rows: Sequence[Row], at_s: float) -> None:
        """A batch of `rows` was answered with 202 at `at_s` (monotonic)."""
        if self._stopped is not None:
            return
        self._batches += 1
        if self._batches % self._every or (self._watch is not None and not self._watch.done()):
            return
        row = next((row for row in rows if _fits(row)), None)
        if row is not None:
            self._watch = asyncio.create_task(self._until_served(row.visitor, at_s))

    async def _until_served(self, visitor: str, at_s: float) -> None:
        target = suggestions_target(visitor, self._placement, 1)
        while time.monotonic() - at_s < GIVE_UP_S:
            try:
                response = await self._asking.request("GET", target)
                if response.status == 200 and decode_suggestions(response.body).served_by in OWN_EVENTS:
                    self._times_s.append(time.monotonic() - at_s)
                    self._timeouts_in_a_row = 0
                    return
            except (ConnectionLostError, RequestRefusedError):
                await asyncio.sleep(0.1)
            await asyncio.sleep(POLL_S)
        self._timeouts += 1
        self._timeouts_in_a_row += 1
        if self._timeouts_in_a_row >= TIMEOUTS_IN_A_ROW_MAX:
            self._stopped = (
                f"no answer made from a click within {GIVE_UP_S:g} s, {TIMEOUTS_IN_A_ROW_MAX} times in a row"
            )

    async def finish(self) -> None:
        """Wait for the event that is being watched, then read the worker's histogram again."""
        if self._watch is not None:
            await self._watch
        after = await read_histogram(self._managing, WORKER_HISTOGRAM)
        if after is not None:
            self._worker = after.since(self._before).figures()

    def report(self) -> FreshnessReport:
        """What was seen so far."""
        return FreshnessReport(percentiles_of(self._times_s), self._timeouts, self._stopped, self._worker)


def _fits(row: Row) -> bool:
    known_item = row.item_age_rows >= ITEM_AGE_ROWS_MIN
    return row.event in WATCHED_KINDS and row.visitor_events_before == 0 and known_item
