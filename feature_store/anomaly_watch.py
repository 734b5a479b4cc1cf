"""Watch the stream from inside the worker: look at the windows every few seconds, tell what is out of the ordinary."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import structlog
from prometheus_client import Counter

from feature_store import keys, layouts
from feature_store.bucket_record import BucketRecord, count_since, read_buckets
from feature_store.errors import FeatureStoreError
from feature_store.kpi import top_item_indexes
from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from feature_store.stream_alerts import StreamAlert, stream_alert
from feature_store.stream_anomalies import (
    HOUR_MS,
    WINDOWS_MIN,
    Counts,
    PriceOutlier,
    PriceWatch,
    Season,
    empty_season,
    is_surge,
    stop_of,
    with_hour,
)
from ingest.bus.contract import Bus, Record
from ingest.errors import BusError
from ingest.events import EVENT_NAMES, Event
from ingest.topics import ENGAGEMENTS

_MINUTE_MS = 60_000
_MINUTES = 30 + WINDOWS_MIN[-1] + 1
_OUTLIERS_MAX = 100
_PRICED = frozenset({"view_item", "add_to_cart", "purchase"})

_ALERTS = Counter(
    "afterclick_feature_store_stream_alerts_total", "Times the stream was out of the ordinary", ["reason"]
)
_LOOKS_FAILED = Counter("afterclick_feature_store_watch_looks_failed_total", "Looks that bus or store did not let be")
_UNTOLD = Counter(
    "afterclick_feature_store_price_outliers_untold_total", "Price outliers beyond what is held to be told"
)
_log = structlog.get_logger("feature_store")


class _SeasonNote(msgspec.Struct):
    """A season as the store keeps it."""

    per_minute: list[float]
    seen: list[int]
    scatter: float


class AnomalyWatch:
    """One in each worker; whoever holds the lease looks at the whole stream, each looks at the prices it reads."""

    def __init__(
        self, bus: Bus, store: OnlineStore, settings: WorkerSettings, *, worker: str, now_ms: Callable[[], int]
    ) -> None:
        self._bus = bus
        self._store = store
        self._settings = settings
        self._worker = worker
        self._now_ms = now_ms
        self._prices = PriceWatch(items_max=settings.watch_priced_items_max)
        self._outliers: deque[PriceOutlier] = deque(maxlen=_OUTLIERS_MAX)
        self._seasons: dict[str, Season] = {}
        self._minutes: dict[str, deque[float]] = {}
        self._minute_ms = 0
        self._hour_ms = 0
        self._troubled: set[str] = set()

    def note_prices(self, events: Iterable[Event]) -> None:
        """Look at the prices that events tell."""
        for event in events:
            if event.event not in _PRICED:
                continue
            for item in event.items:
                if item.price and (found := self._prices.observe(item.item_id, item.price)) is not None:
                    if len(self._outliers) == _OUTLIERS_MAX:
                        _UNTOLD.inc()
                    self._outliers.append(found)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`; a bus or store that is away is waited for."""
        while not stop.is_set():
            started_s = time.monotonic()
            try:
                await self.look(self._now_ms())
            except (BusError, FeatureStoreError) as error:
                _LOOKS_FAILED.inc()
                _log.warning("the watch waits", reason=str(error))
            rest_s = self._settings.watch_look_ms / 1000 - (time.monotonic() - started_s)
            try:
                await asyncio.wait_for(stop.wait(), max(0.05, rest_s))
            except TimeoutError:
                continue

    async def look(self, now_ms: int) -> list[StreamAlert]:
        """Look once, and tell what is new; returns that.

        Raises:
            BusUnavailableError, StoreUnavailableError: some of it may not be told; the next look tells it.
        """
        alerts = [self._price_alert(found, now_ms) for found in self._outliers]
        if await self._leads():
            _, partitions = await self._store.meta()
            alerts += await self._stops(partitions, now_ms)
            alerts += await self._surges(partitions, now_ms)
        told = await self._tell(alerts)
        self._outliers.clear()
        return told

    async def _leads(self) -> bool:
        """One watch for the whole stream is enough."""
        lease_ms = 3 * self._settings.watch_look_ms
        _, holder = await self._store.send(
            [("SET", keys.WATCH_LEASE, self._worker, "NX", "PX", lease_ms), ("GET", keys.WATCH_LEASE)]
        )
        if holder != self._worker.encode():
            self._minute_ms = 0
            return False
        await self._store.send([("PEXPIRE", keys.WATCH_LEASE, lease_ms)])
        return True

    async def _stops(self, partitions: int, now_ms: int) -> list[StreamAlert]:
        records = [
            read_buckets(raw, layouts.EVENT_KINDS)
            for raw in await self._store.read([keys.event_kinds_key(p) for p in range(partitions)])
        ]
        if self._minute_ms == 0:
            await self._begin(records, now_ms)
        latest = _kinds_between(records, now_ms - _MINUTE_MS, now_ms, layouts.BY_SECOND)
        await self._learn(latest, now_ms)
        alerts = []
        for place, kind in enumerate(EVENT_NAMES):
            minutes = np.array([*self._minutes[kind], latest[place]])
            stop = stop_of(self._seasons[kind], minutes, now_ms)
            if stop is None:
                continue
            self._troubled.add(kind)
            says = (
                f"{stop.got} `{kind}` events in the last {stop.window_min} min, at least {stop.expected:.0f} were "
                "expected; is the tracking broken?"
            )
            alerts.append(self._alert("kind_stopped", kind, now_ms, stop.expected, stop.got, says))
        return alerts

    async def _begin(self, records: Sequence[BucketRecord], now_ms: int) -> None:
        """Take over what the store remembers: the seasons, and the minutes before this one."""
        found = await self._store.read([keys.season_key(kind) for kind in EVENT_NAMES])
        self._seasons = {kind: _season_of(raw) for kind, raw in zip(EVENT_NAMES, found, strict=True)}
        # Up to here whole minutes are in the records; the last one is counted by the second.
        edge_ms = (now_ms - _MINUTE_MS) // _MINUTE_MS * _MINUTE_MS
        starts = [edge_ms - back * _MINUTE_MS for back in range(_MINUTES - 1, 0, -1)]
        counts = [_kinds_between(records, s - 1, s + _MINUTE_MS - 1, layouts.KINDS_BY_MINUTE) for s in starts]
        for place, kind in enumerate(EVENT_NAMES):
            self._minutes[kind] = deque((float(minute[place]) for minute in counts), maxlen=_MINUTES - 1)
        self._minute_ms, self._hour_ms = now_ms, now_ms // HOUR_MS * HOUR_MS

    async def _learn(self, latest: Counts, now_ms: int) -> None:
        """Take note of a minute that is over, and of an hour."""
        if now_ms - self._minute_ms < _MINUTE_MS:
            return
        self._minute_ms = now_ms
        for place, kind in enumerate(EVENT_NAMES):
            self._minutes[kind].append(float(latest[place]))
        if now_ms // HOUR_MS * HOUR_MS == self._hour_ms:
            return
        for kind in EVENT_NAMES:
            # An hour with a fault in it is no ordinary one.
            if kind not in self._troubled:
                minutes = np.array(self._minutes[kind])[-60:]
                self._seasons[kind] = with_hour(self._seasons[kind], self._hour_ms, minutes)
        self._hour_ms = now_ms // HOUR_MS * HOUR_MS
        self._troubled.clear()
        await self._store.send([("SET", keys.season_key(k), _season_note(s)) for k, s in self._seasons.items()])

    async def _surges(self, partitions: int, now_ms: int) -> list[StreamAlert]:
        candidates = (await top_item_indexes(self._store, partitions))[: self._settings.watch_surge_items_max]
        if not candidates:
            return []
        raws = await self._store.read([keys.item_key(p, index) for index in candidates for p in range(partitions)])
        ids = await self._store.send([("LINDEX", keys.ITEM_IDS, index) for index in candidates])
        shop = self._minutes["view_item"]
        shop_before = max(1.0, sum(list(shop)[-30:]) / 30)
        shop_times = (shop[-1] if shop else 0.0) / shop_before
        alerts = []
        for i, item_id in enumerate(ids):
            records = [read_buckets(raw, layouts.ITEM) for raw in raws[i * partitions : (i + 1) * partitions] if raw]
            minute = _views_between(records, now_ms - _MINUTE_MS, now_ms, layouts.BY_TEN_SECONDS)
            hour = _views_between(records, now_ms - HOUR_MS, now_ms, layouts.BY_MINUTE)
            day = _views_between(records, now_ms - 24 * HOUR_MS, now_ms, layouts.BY_HOUR)
            if is_surge(minute, hour, day, shop_times=shop_times):
                expected = max(1.0, (hour - minute) / 59)
                says = (
                    f"{minute} views in a minute, usually {expected:.1f}; is it a robot, or the news? Is it in stock?"
                )
                alerts.append(self._alert("item_surge", item_id.decode(), now_ms, expected, minute, says))
        return alerts

    def _price_alert(self, found: PriceOutlier, now_ms: int) -> StreamAlert:
        says = f"told at {found.price:.2f}, usually {found.usual:.2f}; is a decimal point or the currency wrong?"
        return self._alert("price_outlier", found.item_id, now_ms, found.usual, found.price, says)

    def _alert(self, reason: str, subject: str, now_ms: int, expected: float, got: float, says: str) -> StreamAlert:
        return stream_alert(
            reason,  # type: ignore[arg-type]
            subject,
            at_ms=now_ms,
            expected=expected,
            got=got,
            says=says,
            once_ms=self._settings.watch_once_ms,
        )

    async def _tell(self, alerts: Sequence[StreamAlert]) -> list[StreamAlert]:
        """Publish those that nobody has told; a claim is given back when the bus does not take the alert."""
        told = []
        for alert in {alert.engagement_id: alert for alert in alerts}.values():
            claim = keys.alert_key(alert.engagement_id)
            [ours] = await self._store.send([("SET", claim, b"1", "NX", "PX", self._settings.watch_once_ms)])
            if ours is None:
                continue
            [verdict] = await self._bus.publish(
                ENGAGEMENTS, [Record(b"", msgspec.json.encode(alert), alert.made_at_ms)]
            )
            if isinstance(verdict, BusError):
                await self._store.send([("DEL", claim)])
                raise verdict
            _ALERTS.labels(alert.reason).inc()
            _log.warning(
                "the stream is out of the ordinary", reason=alert.reason, subject=alert.subject, says=alert.says
            )
            told.append(alert)
        return told


def _kinds_between(records: Sequence[BucketRecord], start_ms: int, end_ms: int, resolution: int) -> Counts:
    """Events by name in (start, end]."""
    total = np.zeros(len(EVENT_NAMES))
    for record in records:
        total += count_since(record, layouts.EVENT_KINDS, resolution, start_ms=start_ms, end_ms=end_ms)
    return total


def _views_between(records: Sequence[BucketRecord], start_ms: int, end_ms: int, resolution: int) -> int:
    counts = [count_since(r, layouts.ITEM, resolution, start_ms=start_ms, end_ms=end_ms)[0] for r in records]
    return int(sum(counts))


def _season_of(raw: bytes | None) -> Season:
    if raw is None:
        return empty_season()
    note = msgspec.json.decode(raw, type=_SeasonNote)
    return Season(np.array(note.per_minute), np.array(note.seen, np.int64), note.scatter)


def _season_note(season: Season) -> bytes:
    per_minute = [round(rate, 3) for rate in season.per_minute.tolist()]
    return msgspec.json.encode(_SeasonNote(per_minute, season.seen.tolist(), season.scatter))
