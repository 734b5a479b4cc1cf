"""Replay the archive into the online store while workers go on writing there: a feature's history, without a pause.

A record is a function of its partition's log up to the position it carries. So the replay makes each record up to a
position R that no worker has passed for it, stamps it with the end of R's message, and writes it by compare-and-set
over what a worker has. A worker that still holds the old record finds another position there, reads again and goes on.
Where a worker got ahead, more of the log is read, and it is tried again.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple, cast

import polars as pl
import structlog
from prometheus_client import Counter

from feature_store import keys
from feature_store.asked_features import FAMILY_OF_ENTITY
from feature_store.custom import CountedView
from feature_store.errors import StoreConflictError
from feature_store.families import Family
from feature_store.item_index import ItemNumbers
from feature_store.migration import upgraded
from feature_store.online_store import OnlineStore, RecordWrite, StoreIdentity
from feature_store.plugins import load_plugin
from feature_store.record_header import POSITION_BYTES, check_record, position_of
from feature_store.replay import Replay, counted_in
from feature_store.settings import WorkerSettings
from feature_store.touch_columns import Names, columns_of, names_in
from ingest.archive_erasure import is_erased
from ingest.archive_hours import ArchiveHours
from ingest.archive_place import ArchivePlace, place_of
from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Bus, Position, Start
from ingest.dedup import Deduplicated, read_deduplicated
from ingest.settings import DedupSettings
from ingest.task_ending import end_tasks
from ingest.tombstones import Tombstones
from ingest.topics import EVENTS

_WRITTEN = Counter("afterclick_feature_store_backfilled_records_total", "Records written by a backfill", ["entity"])
_BATCH_EVENTS = 20_000
_MESSAGES_HELD_MAX = 1_000
_RECORDS_A_WRITE = 2_000
_AHEAD_S_MAX = 60.0
"""For how long workers may get ahead with a record that every event changes."""
_ARRIVAL_S = 0.05
_INDEX_MAX: Final = (1 << 32) - 1
_HOUR_MS = 3_600_000

_log = structlog.get_logger("feature_store")


async def backfill_store(
    bus: Bus,
    store: OnlineStore,
    archive: Path | ArchivePlace,
    entities: Sequence[str],
    *,
    from_ms: int = 0,
    settings: WorkerSettings | None = None,
    dedup: DedupSettings | None = None,
) -> int:
    """Make the records of `entities` anew from what was accepted since `from_ms`; returns how many events that were.

    Workers may go on. Afterwards each record is what a full replay since `from_ms` would have made it. Killed half-way,
    some records are done and the others as they were; run it again.

    Args:
        bus: for the events that are not in the archive yet.
        store: to be written.
        archive: where it lies.
        entities: of "visitor", "item", "category", "placement", "event_name", and names of the shop's counted views.
        from_ms: what came before is forgotten by these records.
        settings: the worker's.
        dedup: the worker's.

    Raises:
        BusUnavailableError, StoreUnavailableError, StoreChangedError, ArchiveError: half-way; run it again.
        StoreConflictError: workers kept getting ahead.
    """
    settings, dedup = settings or WorkerSettings(), dedup or DedupSettings()
    log_id, partitions = await bus.log_id(EVENTS), await bus.partitions(EVENTS)
    identity = await store.identify()
    tombstones = await Tombstones.open(bus, reader="backfill")
    views = [view for view in load_plugin(store.settings.features_module).counted if view.name in entities]
    built_in = [entity for entity in entities if entity in FAMILY_OF_ENTITY]
    kinds = {entity: _built_in(entity) for entity in built_in} | {view.name: _counted(view) for view in views}
    events = 0
    try:
        for partition in range(partitions):
            names = _StoreNames(store, identity, cache_max=settings.item_cache_max)
            replay = Replay(built_in, names, log_id=log_id, future_ms_max=settings.future_ms_max, views=views)
            one = _Partition(bus, place_of(archive), partition, replay, names, dedup, tombstones, views)
            await one.read_archive(from_ms)
            await one.read_tail()
            try:
                await _Writer(store, identity, settings, one, kinds, log_id=log_id).write()
            finally:
                await one.close()
            events += replay.events
            _log.info("backfilled a partition", partition=partition, events=replay.events)
    finally:
        await tombstones.close()
    return events


class _StoreNames(Names):
    """Numbers of items and categories as the store gives them."""

    def __init__(self, store: OnlineStore, identity: StoreIdentity, *, cache_max: int) -> None:
        super().__init__()
        self._numbers = ItemNumbers(store, cache_max=cache_max)
        self._identity = identity

    async def admit(self, names: set[str]) -> None:
        """Have a number for each of the names."""
        unknown = [name for name in names if self.find(name) is None]
        if unknown:
            for name, number in (await self._numbers.indexes(unknown, identity=self._identity)).items():
                self.set_number(name, number)


class _Partition:
    """One partition's replay, and how far it has come."""

    def __init__(
        self,
        bus: Bus,
        place: ArchivePlace,
        partition: int,
        replay: Replay,
        names: _StoreNames,
        dedup: DedupSettings,
        tombstones: Tombstones,
        views: Sequence[CountedView],
    ) -> None:
        self._bus = bus
        self._views = views
        self._columns = columns_of(views)
        self._place = place
        self.partition = partition
        self.replay = replay
        self._names = names
        self._dedup = dedup
        self._tombstones = tombstones
        self._from_ms = 0
        self._following: asyncio.Task[None] | None = None
        self._arrived: asyncio.Queue[Deduplicated] = asyncio.Queue(_MESSAGES_HELD_MAX)
        self.last: Position | None = None

    @property
    def stamp(self) -> bytes:
        """16 bytes: the end of the message that was read last. Nothing of it is to come, and it is no event's position,
        so that a worker's copy of a record is told from the one written here."""
        last = self.last or Position(0, 0, 0)
        return Position(last.major, last.minor, _INDEX_MAX).to_bytes()

    async def read_archive(self, from_ms: int) -> None:
        """Everything that is archived."""
        self._from_ms = from_ms
        hours = await asyncio.to_thread(ArchiveHours, self._place, self.partition)
        where = pl.col("accepted_at_ms") >= from_ms
        if erased := self._tombstones.keys:
            where &= ~is_erased(erased)
        for hour_ms in hours.hours_ms:
            if hour_ms > from_ms - _HOUR_MS:
                rows = await asyncio.to_thread(hours.rows, hour_ms, self.partition, self._columns, where)
                await self._apply(rows)

    async def read_tail(self) -> None:
        """What has been accepted since, up to now."""
        start: Start = self.last or self._from_ms or "earliest"
        held: list[ArchivedEvent] = []
        reading = read_deduplicated(
            self._bus,
            EVENTS,
            self.partition,
            settings=self._dedup,
            start=start,
            until_now=True,
            tombstones=self._tombstones,
        )
        async with aclosing(cast("AsyncGenerator[Deduplicated, None]", reading)) as deliveries:
            async for found in deliveries:
                held += self._archived(found)
                if len(held) >= _BATCH_EVENTS:
                    await self._apply(rows_of(held))
                    held = []
                self._come_to(found.delivery.last)
        await self._apply(rows_of(held))

    async def keep_up(self) -> None:
        """What has come since, as it comes: the log stays open, and nothing of it is read twice."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        if self._following.done():
            self._following.result()
        try:
            async with asyncio.timeout(_ARRIVAL_S):
                arrived = [await self._arrived.get()]
        except TimeoutError:
            return
        while not self._arrived.empty():
            arrived.append(self._arrived.get_nowait())
        await self._apply(rows_of([event for found in arrived for event in self._archived(found)]))
        self._come_to(arrived[-1].delivery.last)

    async def close(self) -> None:
        """Follow no more."""
        await end_tasks(self._following)

    async def _follow(self) -> None:
        start: Start = self.last or self._from_ms or "earliest"
        reading = read_deduplicated(
            self._bus, EVENTS, self.partition, settings=self._dedup, start=start, tombstones=self._tombstones
        )
        async with aclosing(cast("AsyncGenerator[Deduplicated, None]", reading)) as deliveries:
            async for found in deliveries:
                await self._arrived.put(found)

    def _archived(self, found: Deduplicated) -> list[ArchivedEvent]:
        accepted_at_ms = found.delivery.accepted_at_ms
        return [
            ArchivedEvent(self.partition, entry.position, accepted_at_ms, event)
            for entry, event in zip(found.entries, found.events, strict=True)
        ]

    def _come_to(self, last: Position) -> None:
        self.last = max(self.last or last, last)

    async def _apply(self, rows: pl.DataFrame) -> None:
        if len(rows):
            names = names_in(rows)
            if self._views:
                _, touches = counted_in(rows, self._views, future_ms_max=self.replay.future_ms_max)
                names |= {touch.name for touch in touches}
            await self._names.admit(names)
            await asyncio.to_thread(self.replay.apply, rows)
            self.last = max(Position.parse(rows["position"][-1]), self.last or Position(0, 0, 0))


class _Kind(NamedTuple):
    """How an entity is kept: the records' family, and the key of one by (partition, what it is called, names)."""

    family: Family
    key_of: Callable[[int, str, Names], bytes]


class _Writer:
    """Writes one partition's records over those of the workers."""

    def __init__(
        self,
        store: OnlineStore,
        identity: StoreIdentity,
        settings: WorkerSettings,
        source: _Partition,
        kinds: Mapping[str, _Kind],
        *,
        log_id: int,
    ) -> None:
        self._store = store
        self._identity = identity
        self._log_id = log_id
        self._source = source
        self._kinds = kinds
        self._ttl_ms = {"visitor": settings.visitor_ttl_ms}
        self._item_ttl_ms = settings.item_ttl_ms

    async def write(self) -> None:
        """Every record of the replay; those that a worker got ahead with after reading on."""
        records = self._source.replay.records
        if placements := records.get("placement"):
            await self._store.send([("SADD", keys.PLACEMENTS, *placements)], run_id=self._identity.run_id)
        left = [(entity, key) for entity, found in records.items() for key in found]
        deadline_s = time.monotonic() + _AHEAD_S_MAX
        while time.monotonic() < deadline_s:
            ahead: list[tuple[str, str]] = []
            for first in range(0, len(left), _RECORDS_A_WRITE):
                ahead += await self._write_some(left[first : first + _RECORDS_A_WRITE])
            if not ahead:
                return
            left = ahead
            # At once: a worker that gets each message when we do must not have the next one before our write.
            await self._source.keep_up()
        raise StoreConflictError(
            f"online store: wanted to write within {_AHEAD_S_MAX:g} s; workers kept getting ahead on {len(left)} "
            "records; run the backfill again when there is less traffic"
        )

    async def _write_some(self, wanted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """One try; returns what others were ahead with."""
        partition, stamp, names = self._source.partition, self._source.stamp, self._source.replay.names
        store_keys = [self._kinds[entity].key_of(partition, key, names) for entity, key in wanted]
        live = await self._store.read(store_keys, run_id=self._identity.run_id)
        writes: list[RecordWrite] = []
        places: list[int] = []
        ahead: list[tuple[str, str]] = []
        for place, ((entity, key), record) in enumerate(zip(wanted, live, strict=True)):
            if record is not None:
                family = self._kinds[entity].family
                check_record(upgraded(record), layout=family.layout, shape=family.shape, log_id=self._log_id)
                if position_of(record) > Position.from_bytes(stamp):
                    ahead.append((entity, key))
                    continue
            made = stamp + self._source.replay.records[entity][key][POSITION_BYTES:]
            ttl_ms = self._ttl_ms.get(entity, self._item_ttl_ms)
            writes.append(RecordWrite(store_keys[place], record, made, ttl_ms))
            places.append(place)
        failed = await self._store.write(writes, partitions=[partition], identity=self._identity, catching_up=False)
        lost = set(failed)
        for n, place in enumerate(places):
            if n not in lost:
                _WRITTEN.labels(wanted[place][0]).inc()
        return [*ahead, *(wanted[places[n]] for n in failed)]


def _of_number(key_of: Callable[[int, int], bytes], prefix: str) -> Callable[[int, str, Names], bytes]:
    return lambda partition, key, names: key_of(partition, names.number_of(prefix + key))


_KEY_OF: Final[Mapping[str, Callable[[int, str, Names], bytes]]] = {
    "visitor": lambda _partition, key, _names: keys.visitor_key_of(key),
    "item": _of_number(keys.item_key, ""),
    "category": _of_number(keys.category_key, keys.category_name("")),
    "placement": lambda partition, key, _names: keys.placement_key(partition, key),
    "event_name": lambda partition, _key, _names: keys.event_kinds_key(partition),
}


def _built_in(entity: str) -> _Kind:
    return _Kind(FAMILY_OF_ENTITY[entity], _KEY_OF[entity])


def _counted(view: CountedView) -> _Kind:
    return _Kind(view.family, _of_number(keys.custom_key, keys.custom_name(view.name, "")))
