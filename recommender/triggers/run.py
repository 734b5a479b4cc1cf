"""The triggers at work: three loops beside each other, each of which may be killed at any instant."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog
from prometheus_client import Counter

from feature_store.errors import FeatureStoreError
from feature_store.online_store import OnlineStore
from ingest.bus.contract import Bus, Entry, Record
from ingest.catalog import Product
from ingest.dedup import subscribe_deduplicated
from ingest.errors import BusError
from ingest.settings import DedupSettings
from ingest.task_ending import end_tasks
from ingest.tombstones import Tombstones
from ingest.topics import CART_CHECKS, CATALOG, ENGAGEMENTS, EVENTS
from recommender.history import History
from recommender.triggers.cart_left import CartCheck, checks_of, decode_check, look_at
from recommender.triggers.claims import Claims
from recommender.triggers.engagement import Engagement, Reason, encode_engagement, engagement_id
from recommender.triggers.offers import Offer, news, offer_of
from recommender.triggers.settings import TriggerSettings
from recommender.triggers.viewers import Viewers

SUBSCRIPTION = "triggers"

_OFFERS = b"{triggers}:offers"
_WAIT_MS = 500
_RETRY_S = 0.5
_READ_MS = 1_000.0
_PUBLISH_MAX = 500

_told = Counter("afterclick_recommender_engagements_total", "Engagements published, by reason", ["reason"])
_kept_back = Counter("afterclick_recommender_engagements_repeated_total", "Not told again that day", ["reason"])
_waits = Counter("afterclick_recommender_trigger_waits_total", "Pauses because bus or store did not answer", ["loop"])
_unreadable = Counter("afterclick_recommender_trigger_unreadable_total", "Entries that cannot be read", ["topic"])
_log = structlog.get_logger(__name__)

ReadHistory = Callable[[bytes, float], Awaitable[History]]
"""`read_history(visitor_key, deadline_ms)`: the latest events; may raise a `FeatureStoreError`."""


async def run_triggers(
    bus: Bus,
    store: OnlineStore,
    read_history: ReadHistory,
    settings: TriggerSettings,
    stop: asyncio.Event,
    *,
    dedup: DedupSettings | None = None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Turn events and offers into `engagements` until `stop`; waits while bus or store are down."""
    tombstones = await _heard(bus, stop)
    if tombstones is None:
        return
    triggers = _Triggers(bus, store, read_history, settings, dedup or DedupSettings(), clock, tombstones)
    loops = {
        "events": triggers.follow_events,
        "cart-checks": triggers.follow_checks,
        "catalog": triggers.follow_catalog,
    }
    running = [asyncio.create_task(_persevere(name, loop), name=name) for name, loop in loops.items()]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                task.result()
    finally:
        await end_tasks(stopping, *running)
        await tombstones.close()


async def _heard(bus: Bus, stop: asyncio.Event) -> Tombstones | None:
    """Who was erased: without knowing it, nobody is told of anything. None when `stop` came first."""
    while not stop.is_set():
        try:
            return await Tombstones.open(bus, reader=SUBSCRIPTION)
        except BusError as error:
            _waits.labels("tombstones").inc()
            _log.warning("triggers wait", loop="tombstones", reason=str(error))
        await asyncio.sleep(_RETRY_S)
    return None


async def _persevere(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await loop()
        except (BusError, FeatureStoreError) as error:
            _waits.labels(name).inc()
            _log.warning("triggers wait", loop=name, reason=str(error))
        await asyncio.sleep(_RETRY_S)


class _Triggers:
    def __init__(
        self,
        bus: Bus,
        store: OnlineStore,
        read_history: ReadHistory,
        settings: TriggerSettings,
        dedup: DedupSettings,
        clock: Callable[[], int],
        tombstones: Tombstones,
    ) -> None:
        self._bus = bus
        self._tombstones = tombstones
        self._store = store
        self._read_history = read_history
        self._settings = settings
        self._dedup = dedup
        self._clock = clock
        self._claims = Claims(store, once_ms=settings.once_ms)
        self._viewers = Viewers(store, viewers_max=settings.viewers_max, viewers_ms=settings.viewers_ms)

    async def follow_events(self) -> None:
        """Remember viewers, and ask for a look at each cart later on. Acknowledged after both, never before."""
        subscription = await subscribe_deduplicated(
            self._bus, EVENTS, SUBSCRIPTION, settings=self._dedup, tombstones=self._tombstones
        )
        try:
            while True:
                await self._tombstones.refresh()
                received = await subscription.receive(wait_ms=_WAIT_MS, entries_max=self._settings.receive_entries_max)
                for deduplicated in received:
                    await self._viewers.note(deduplicated.events)
                    checks = checks_of(deduplicated.events)
                    await self._ask_again(checks, in_ms=self._settings.cart_left_ms)
                    await subscription.acknowledge(deduplicated.delivery)
        finally:
            await subscription.close()

    async def follow_checks(self) -> None:
        """Look at the carts whose time has come."""
        subscription = await self._bus.subscribe(CART_CHECKS, SUBSCRIPTION, mode="queue")
        try:
            while True:
                for delivery in await subscription.receive(wait_ms=_WAIT_MS, entries_max=100):
                    for entry in delivery.entries:
                        await self._look(entry)
                    await subscription.acknowledge(delivery)
        finally:
            await subscription.close()

    async def follow_catalog(self) -> None:
        """Compare each offer with what it was; what it was is kept in the store, so a restart misses nothing."""
        table = await self._bus.table(CATALOG)
        try:
            while True:
                for entry in await table.changes(wait_ms=_WAIT_MS):
                    await self._compare(entry)
        finally:
            await table.close()

    async def _look(self, entry: Entry) -> None:
        try:
            check = decode_check(entry.payload or b"")
        except msgspec.DecodeError:
            _unreadable.labels(CART_CHECKS.name).inc()
            return
        visitor = bytes.fromhex(check.visitor_key)
        history = await self._read_history(visitor, _READ_MS)
        found = look_at(
            history,
            check,
            now_ms=self._clock(),
            cart_left_ms=self._settings.cart_left_ms,
            cart_ms_max=self._settings.cart_ms_max,
        )
        if found.again_in_ms:
            await self._ask_again([check], in_ms=found.again_in_ms)
        elif found.items:
            await self._tell_of_cart(visitor, found.items, cause=b"cart-%d" % check.added_ms)

    async def _tell_of_cart(self, visitor: bytes, items: Sequence[str], *, cause: bytes) -> None:
        """One engagement of what is new in the cart; its id is the first item's, whose claim goes with it."""
        now_ms = self._clock()
        ids = [engagement_id("cart_left_behind", visitor, item_id, now_ms) for item_id in items]
        taken = await self._claims.take(ids, cause=cause)
        new = [(name, item_id) for name, item_id, ours in zip(ids, items, taken, strict=True) if ours]
        if not new:
            _kept_back.labels("cart_left_behind").inc()
            return
        told = tuple(item_id for _, item_id in new)
        await self._publish([Engagement(new[0][0], "cart_left_behind", visitor.hex(), told, now_ms)])
        await self._claims.done([name for name, _ in new])

    async def _compare(self, entry: Entry) -> None:
        if entry.payload is None:
            await self._store.send([("HDEL", _OFFERS, entry.key)])
            return
        try:
            product = msgspec.json.decode(entry.payload, type=Product)
        except msgspec.DecodeError:
            _unreadable.labels(CATALOG.name).inc()
            return
        [stored] = await self._store.send([("HGET", _OFFERS, entry.key)])
        before = msgspec.json.decode(stored, type=Offer) if stored else None
        after = offer_of(product)
        if before == after:
            return
        reason = news(before, after, price_drop_min=self._settings.price_drop_min)
        if reason is not None:
            await self._tell_viewers(reason, product, before)
        # After the telling: a crash before it makes the next start compare again, and the claims keep it to one.
        await self._store.send([("HSET", _OFFERS, entry.key, msgspec.json.encode(after))])

    async def _tell_viewers(self, reason: Reason, product: Product, before: Offer | None) -> None:
        now_ms = self._clock()
        await self._tombstones.refresh()
        erased = self._tombstones.keys
        looked = await self._viewers.latest(product.item_id, now_ms=now_ms)
        viewers = [visitor for visitor in looked if visitor.hex() not in erased]
        cause = msgspec.json.encode((before, offer_of(product)))
        price, price_before = (product.price, before.price) if before and reason == "price_drop" else (None, None)
        for start in range(0, len(viewers), _PUBLISH_MAX):
            some = viewers[start : start + _PUBLISH_MAX]
            ids = [engagement_id(reason, visitor, product.item_id, now_ms) for visitor in some]
            taken = await self._claims.take(ids, cause=cause)
            _kept_back.labels(reason).inc(taken.count(False))
            engagements = [
                Engagement(name, reason, visitor.hex(), (product.item_id,), now_ms, price, price_before)
                for name, visitor, ours in zip(ids, some, taken, strict=True)
                if ours
            ]
            await self._publish(engagements)
            await self._claims.done([engagement.engagement_id for engagement in engagements])

    async def _publish(self, engagements: Sequence[Engagement]) -> None:
        if not engagements:
            return
        records = [
            Record(bytes.fromhex(engagement.visitor_key), encode_engagement(engagement), engagement.made_at_ms)
            for engagement in engagements
        ]
        for verdict in await self._bus.publish(ENGAGEMENTS, records):
            if isinstance(verdict, BusError):
                raise verdict
        for engagement in engagements:
            _told.labels(engagement.reason).inc()

    async def _ask_again(self, checks: Sequence[CartCheck], *, in_ms: int) -> None:
        if not checks:
            return
        records = [Record(bytes.fromhex(c.visitor_key), msgspec.json.encode(c), c.added_ms) for c in checks]
        for verdict in await self._bus.publish(CART_CHECKS, records, delay_ms=in_ms):
            if isinstance(verdict, BusError):
                raise verdict
