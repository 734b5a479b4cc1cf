"""Bring the records that a batch of events touches up to date: read, apply, compare and set, again where it failed."""

from collections.abc import Iterator, Sequence

import structlog
from prometheus_client import Counter

from feature_store import keys
from feature_store.custom_touches import custom_touches, gather_custom
from feature_store.errors import EventRefusedError, FeatureStoreError, StoreConflictError
from feature_store.event_touches import OTHER_PLACEMENT, gather_touches, names_of, placements_of
from feature_store.families import IDENTITIES, ITEMS, VISITORS, Family
from feature_store.item_index import ItemNumbers
from feature_store.migration import upgraded
from feature_store.online_store import OnlineStore, RecordWrite, StoreIdentity
from feature_store.plugins import load_plugin
from feature_store.record_cache import RecordCache
from feature_store.record_header import check_record
from feature_store.settings import WorkerSettings
from feature_store.touch_gathering import PlacedEvent, Touched

_WRITTEN = Counter("afterclick_feature_store_records_written_total", "Records written", ["family"])
_CONFLICTS = Counter("afterclick_feature_store_conflicts_total", "Records that somebody else had written meanwhile")
_OTHER_PLACEMENTS = Counter(
    "afterclick_feature_store_placements_beyond_limit_total", "Placement names counted as (other)"
)
_log = structlog.get_logger("feature_store")


class RecordUpdater:
    """Applies events to the records of one log; keeps what it wrote in a bounded cache."""

    def __init__(self, store: OnlineStore, settings: WorkerSettings, *, log_id: int) -> None:
        self._store = store
        self._settings = settings
        self._log_id = log_id
        self._numbers = ItemNumbers(store, cache_max=settings.item_cache_max)
        self._cache = RecordCache(records_max=settings.cache_records_max)
        self._placements: set[str] = set()
        self._views = load_plugin(store.settings.features_module).counted
        self._ttl_ms = {
            VISITORS: settings.visitor_ttl_ms,
            ITEMS: settings.item_ttl_ms,
            IDENTITIES: settings.identity_ttl_ms,
        }

    async def restore_ids(self, *, identity: StoreIdentity) -> None:
        """Before `forget`: give a store that fell back the item numbers that are known here; errors as `apply`."""
        await self._numbers.restore(identity=identity)

    def forget(self) -> None:
        """The store is another one: nothing of what is known here holds."""
        self._numbers.forget()
        self._cache.clear()
        self._placements.clear()

    def forget_partition(self, partition: int) -> None:
        """Another worker may have had this partition meanwhile."""
        self._cache.drop_partition(partition)

    async def apply_apart(
        self, placed: Sequence[PlacedEvent], *, identity: StoreIdentity, catching_up: bool = False
    ) -> list[tuple[PlacedEvent, EventRefusedError]]:
        """As `apply`, in parts of bounded size; an event that our own code fails on is left out and returned."""
        broken: list[tuple[PlacedEvent, EventRefusedError]] = []
        for part in _parts(placed, lines_max=self._settings.batch_lines_max):
            try:
                await self.apply(part, identity=identity, catching_up=catching_up)
            except FeatureStoreError:
                raise
            except Exception as error:  # our own fault: one event must not stop the partition
                if len(part) > 1:
                    for event in part:
                        broken += await self.apply_apart([event], identity=identity, catching_up=catching_up)
                else:
                    _log.exception("an event could not be applied", position=str(part[0].position))
                    broken.append((part[0], _our_fault(error)))
        return broken

    async def apply(self, placed: Sequence[PlacedEvent], *, identity: StoreIdentity, catching_up: bool = False) -> None:
        """Have every record hold `placed`; events that a record already has change nothing.

        Raises:
            StoreUnavailableError, StoreChangedError: some records may be written; apply the same events again.
            StoreConflictError: another writer kept getting ahead; apply the same events again.
            StoreMismatchError, RecordFormatError: the store holds something else; an operator has to look.
        """
        custom = custom_touches(placed, self._views)
        names = names_of(placed).union(touch.name for touch in custom)
        number_of = await self._numbers.indexes(names, identity=identity)
        placement_of = await self._admit_placements(placements_of(placed), identity)
        pending = gather_touches(placed, number_of=number_of, placement_of=placement_of)
        pending += gather_custom(placed, custom, self._views, number_of=number_of)
        for attempt in range(self._settings.conflict_retries_max):
            pending = await self._write(pending, identity=identity, catching_up=catching_up, from_cache=attempt == 0)
            if not pending:
                self._cache.trim()
                return
        raise StoreConflictError(
            f"online store: wanted to write within {self._settings.conflict_retries_max} tries; "
            f"another worker kept getting ahead on {sum(len(touched.keys) for touched in pending)} records"
        )

    async def _admit_placements(self, names: set[str], identity: StoreIdentity) -> dict[str, str]:
        """Under which name each placement is counted; new ones are listed in the store before they have records."""
        if not names <= self._placements:
            [members] = await self._store.send([("SMEMBERS", keys.PLACEMENTS)], run_id=identity.run_id)
            self._placements = {member.decode() for member in members}
            room = max(0, self._settings.placements_max - len(self._placements))
            fresh = sorted(names - self._placements)
            _OTHER_PLACEMENTS.inc(len(fresh[room:]))
            admitted = [*fresh[:room], OTHER_PLACEMENT]
            await self._store.send([("SADD", keys.PLACEMENTS, *admitted)], run_id=identity.run_id)
            self._placements.update(admitted)
        return {name: name if name in self._placements else OTHER_PLACEMENT for name in names}

    async def _write(
        self, pending: list[Touched], *, identity: StoreIdentity, catching_up: bool, from_cache: bool
    ) -> list[Touched]:
        """One try; returns what is left because others had written it."""
        stored = await self._stored(pending, identity, from_cache=from_cache)
        writes: list[RecordWrite] = []
        places: list[tuple[int, int]] = []
        for number, touched in enumerate(pending):
            replaced = [stored[key] for key in touched.keys]
            records = touched.family.apply(replaced, touched.touches, self._numbers.hashes, self._log_id)
            ttl_ms = self._ttl_ms.get(touched.family, self._settings.item_ttl_ms)
            for row, (key, old, new) in enumerate(zip(touched.keys, replaced, records, strict=True)):
                if new is not None:
                    writes.append(RecordWrite(key, old, new, ttl_ms))
                    places.append((number, row))
                elif old is not None:
                    self._cache.put(touched.partitions[row], key, old)
        partitions = {partition for touched in pending for partition in touched.partitions}
        failed = await self._store.write(writes, partitions=partitions, identity=identity, catching_up=catching_up)
        return self._settle(pending, writes, places, set(failed))

    async def _stored(
        self, pending: list[Touched], identity: StoreIdentity, *, from_cache: bool
    ) -> dict[bytes, bytes | None]:
        stored: dict[bytes, bytes | None] = {}
        missing: list[tuple[bytes, Family]] = []
        for touched in pending:
            for key, partition in zip(touched.keys, touched.partitions, strict=True):
                cached = self._cache.get(partition, key) if from_cache else None
                if cached is None:
                    missing.append((key, touched.family))
                else:
                    stored[key] = cached
        if missing:
            # Read with the ids given since, so that the hash of every index in these records is known.
            records, added = await self._store.read_with_ids(
                [key for key, _ in missing], known=self._numbers.known, run_id=identity.run_id
            )
            self._numbers.learn(added)
            for (key, family), record in zip(missing, records, strict=True):
                if record is not None:
                    record = upgraded(record)
                    check_record(record, layout=family.layout, shape=family.shape, log_id=self._log_id)
                stored[key] = record
        return stored

    def _settle(
        self, pending: list[Touched], writes: list[RecordWrite], places: list[tuple[int, int]], failed: set[int]
    ) -> list[Touched]:
        left: dict[int, list[int]] = {}
        put = self._cache.put
        for write, (number, row) in zip(writes, places, strict=True):
            put(pending[number].partitions[row], write.key, write.record)
        for i in sorted(failed):
            number, row = places[i]
            self._cache.drop(pending[number].partitions[row], writes[i].key)
            left.setdefault(number, []).append(row)
        _CONFLICTS.inc(len(failed))
        for number, touched in enumerate(pending):
            _WRITTEN.labels(touched.family.name).inc(len(touched.keys) - len(left.get(number, ())))
        return [pending[number].only(rows) for number, rows in left.items()]


def _parts(placed: Sequence[PlacedEvent], *, lines_max: int) -> Iterator[list[PlacedEvent]]:
    """`placed` in order, in parts of at most `lines_max` item lines (an event alone may have more)."""
    part: list[PlacedEvent] = []
    lines = 0
    for event in placed:
        size = 1 + len(event.event.items)
        if part and lines + size > lines_max:
            yield part
            part, lines = [], 0
        part.append(event)
        lines += size
    if part:
        yield part


def _our_fault(error: Exception) -> EventRefusedError:
    return EventRefusedError(
        "worker-failed",
        wanted="an event that the worker can apply",
        got=f"{type(error).__name__}: {error}",
        next_step="report it with this entry; after the fix, send the event again",
    )
