"""Follow the topic `merchandising` in every replica, and make changes that answer once the own replica has them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from ingest.bus.contract import Bus, Delivery, Entry, Position, Record
from ingest.errors import BusError
from ingest.topics import MERCHANDISING
from recommender.merchandising.changes import Change, Outcome, decode_change, encode_change
from recommender.merchandising.ledger import Ledger

_RETRY_S = 0.5
PENDING_MAX = 1_000

_changes = Counter("afterclick_recommender_merchandising_changes_total", "Changes folded, by outcome", ["status"])
_unreadable = Counter("afterclick_recommender_merchandising_unreadable_total", "Entries of the log that are no change")
_lost = Counter("afterclick_recommender_merchandising_follow_lost_total", "Times the follower lost the bus")
_documents = Gauge("afterclick_recommender_merchandising_documents", "Documents now", ["kind"], multiprocess_mode="max")
_log = structlog.get_logger(__name__)

Changed = Callable[[str], None]
"""`changed(kind)`: called in the loop's thread after a change of that kind was folded; must be quick."""


class MerchandisingLog:
    """One per serving process.

    Args:
        ledger: what the log is folded into; this is its only writer.
    """

    def __init__(self, bus: Bus, ledger: Ledger) -> None:
        self.ledger = ledger
        self._bus = bus
        self._changed: list[Changed] = []
        self._position: Position | None = None
        self._log_id: int | None = None
        self._awaited: dict[str, asyncio.Future[Outcome]] = {}
        self.ready = asyncio.Event()
        """Set when the log has been read to its present end once."""

    def tell(self, changed: Changed) -> None:
        """Call `changed` for every kind that changes from now on, so that what is compiled from it is made anew."""
        self._changed.append(changed)

    async def submit(self, changes: Sequence[Change], *, within_s: float) -> list[Outcome]:
        """Publish `changes` and wait until this replica has folded them all; one outcome each, in order.

        Raises:
            BusError: the bus did not take all of them; what it took will be folded, so look before repeating.
            TimeoutError: they are on the log, and this replica has not come to them in time.
            ValueError: too many at once.
        """
        if len(self._awaited) + len(changes) > PENDING_MAX:
            raise ValueError(f"wanted at most {PENDING_MAX} changes at once, got {len(changes)} more")
        loop = asyncio.get_running_loop()
        outcomes = [loop.create_future() for _ in changes]
        self._awaited.update(zip([change.change_id for change in changes], outcomes, strict=True))
        try:
            records = [Record(change.key, encode_change(change), change.at_ms) for change in changes]
            for verdict in await self._bus.publish(MERCHANDISING, records):
                if isinstance(verdict, BusError):
                    raise verdict
            async with asyncio.timeout(within_s):
                return list(await asyncio.gather(*outcomes))
        finally:
            for change in changes:
                self._awaited.pop(change.change_id, None)

    async def follow(self) -> None:
        """Read the log and keep up with it until cancelled; a bus that is away is waited for."""
        while True:
            try:
                await self._check_log()
                await self._read(until_now=True)
                self.ready.set()
                await self._read(until_now=False)
            except BusError as error:
                _lost.inc()
                _log.warning("merchandising log lost the bus; rules stay as they are", reason=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _check_log(self) -> None:
        """Positions of another log mean nothing in this one: whoever wiped the broker wiped the rules."""
        log_id = await self._bus.log_id(MERCHANDISING)
        if self._log_id is not None and log_id != self._log_id:
            _log.error("the merchandising log is another one, so its documents are too", log_id=log_id)
            self._position = None
            self.ledger.clear()
            self._tell(*self.ledger.kinds)
        self._log_id = log_id

    async def _read(self, *, until_now: bool) -> None:
        reading = self._bus.read(MERCHANDISING, 0, start=self._position or "earliest", until_now=until_now)
        async with aclosing(cast("AsyncGenerator[Delivery, None]", reading)) as deliveries:
            async for delivery in deliveries:
                for entry in delivery.entries:
                    self._take(entry)
                    self._position = entry.position
                await asyncio.sleep(0)

    def _take(self, entry: Entry) -> None:
        try:
            change = decode_change(entry.payload or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            _unreadable.inc()
            return
        outcome = self.ledger.apply(change)
        _changes.labels(outcome.status).inc()
        if outcome.status == "applied":
            _documents.labels(change.kind).set(sum(1 for _ in self.ledger.documents(change.kind)))
            self._tell(change.kind)
        awaited = self._awaited.get(change.change_id)
        if awaited is not None and not awaited.done():
            awaited.set_result(outcome)

    def _tell(self, *kinds: str) -> None:
        for kind in kinds:
            for changed in self._changed:
                changed(kind)
