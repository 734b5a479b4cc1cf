"""Hold a sample of the online store against the archive, all the time: the same events must come to the same values.

A record is a function of its partition's log up to the position it carries. So it is made again from the archive, up to
that very position, and both are read at one instant. What differs then is a fault: a record that was altered or lost
events, a kernel that changed without a migration, an archive that lacks something. `parity_watch` counts it.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from feature_store import keys
from feature_store.definitions import FeatureView, Value
from feature_store.item_index import ItemNames
from feature_store.online_store import OnlineStore
from feature_store.parity_watch import Differing, ParityReport
from feature_store.reading import read_view
from feature_store.record_header import position_of
from feature_store.registry import REGISTRY
from feature_store.replay import Replay
from feature_store.settings import ParitySettings
from feature_store.touch_columns import COLUMNS, Names
from feature_store.visitor_record import read_visitor
from ingest.archive_erasure import NOBODY
from ingest.archive_files import log_id_of
from ingest.archive_hours import ArchiveHours
from ingest.archive_place import ArchivePlace
from ingest.archive_reader import archived_positions
from ingest.bus.contract import Position

_VISITOR, _ITEM = "visitor", "item"
_POLL_S = 0.5
_TOLERANCE = 1e-9
_HOUR_MS = 3_600_000


class _Sample(NamedTuple):
    """Records as the online store had them at one instant."""

    at_ms: int
    records: dict[tuple[str, str], bytes]
    """By entity and key."""
    names: ItemNames


class Parity:
    """Checks samples of an online store.

    Args:
        store: the online store.
        place: where the archive lies.
        settings: how much, and how far back.
        future_ms_max: as the worker has it.
        now_ms: Unix time.
    """

    def __init__(
        self,
        store: OnlineStore,
        place: ArchivePlace,
        settings: ParitySettings,
        *,
        future_ms_max: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._place = place
        self._settings = settings
        self._future_ms_max = future_ms_max
        self._now_ms = now_ms
        self._random = random.Random()
        self._known = ItemNames()
        self._skipped: Counter[str] = Counter()

    async def check(self, turn: int) -> ParityReport:
        """Check a sample of the partition whose turn it is.

        Raises:
            StoreUnavailableError, RecordFormatError: the store does not answer, or holds something else.
            ArchiveError: the archive cannot be read.
        """
        _, partitions = await self._store.meta()
        self._skipped = Counter()
        if partitions == 0:
            return ParityReport()
        partition = turn % partitions
        hours = await asyncio.to_thread(ArchiveHours, self._place, partition)
        sample = await self._archived(partition, await self._sample(partition, hours))
        if not sample.records:
            return ParityReport(skipped=dict(self._skipped))
        made = await asyncio.to_thread(self._made_again, partition, sample)
        return self._compare(sample, made)

    async def _sample(self, partition: int, hours: ArchiveHours) -> _Sample:
        """Entities that an hour within reach tells of, with their records."""
        at_ms = self._now_ms()
        within = [hour_ms for hour_ms in hours.hours_ms if hour_ms > at_ms - self._settings.lookback_ms]
        if not within:
            return _Sample(at_ms, {}, ItemNames())
        hour_ms = self._random.choice(within)
        rows = await asyncio.to_thread(hours.rows, hour_ms, partition, ("visitor_key", "item_id", "event"))
        visitors = rows.filter(pl.col("visitor_key") != NOBODY)["visitor_key"].unique().to_list()
        items = rows["item_id"].explode().drop_nulls().unique().to_list()
        wanted = [(_VISITOR, key) for key in self._some(visitors, self._settings.visitors)]
        wanted += [(_ITEM, key) for key in self._some(items, self._settings.items)]
        return await self._read(partition, wanted)

    async def _read(self, partition: int, wanted: Sequence[tuple[str, str]]) -> _Sample:
        numbers = await self._numbers_of([key for entity, key in wanted if entity == _ITEM])
        store_keys = [
            keys.visitor_key_of(key) if entity == _VISITOR else keys.item_key(partition, numbers[key])
            for entity, key in wanted
        ]
        # The instant comes before the records, so that none of their events is after it but those sent ahead of time.
        at_ms = self._now_ms()
        found = await self._store.read(store_keys)
        names = await self._names()
        records = {place: record for place, record in zip(wanted, found, strict=True) if record is not None}
        self._skipped["no record"] += len(wanted) - len(records)
        oldest_ms = at_ms - self._settings.lookback_ms + _HOUR_MS
        young = {
            place: record
            for place, record in records.items()
            if place[0] != _VISITOR or read_visitor(record).first_ms > oldest_ms
        }
        self._skipped["older than the lookback"] += len(records) - len(young)
        return _Sample(at_ms, young, names)

    async def _numbers_of(self, items: Sequence[str]) -> dict[str, int]:
        if not items:
            return {}
        [found] = await self._store.send([("HMGET", keys.ITEM_INDEX, *items)])
        return {item: int(number or 0) for item, number in zip(items, found, strict=True)}

    async def _names(self) -> ItemNames:
        """Every name by its number; only what is new is read, unless the store is another one."""
        known = len(self._known)
        [added] = await self._store.send([("LRANGE", keys.ITEM_IDS, max(known - 1, 0), -1)])
        if known and (not added or added[0].decode() != self._known.ids_of([known - 1])[0]):
            self._known = ItemNames()
            return await self._names()
        self._known.learn(added[1:] if known else added)
        return self._known

    async def _archived(self, partition: int, sample: _Sample) -> _Sample:
        """Those of the sample whose last event the archive has, after a while."""
        deadline_s = time.monotonic() + self._settings.settle_ms / 1000
        while True:
            ends = await asyncio.to_thread(archived_positions, self._place)
            end = ends.get(partition, Position(0, 0, 0))
            ready = {place: record for place, record in sample.records.items() if position_of(record) <= end}
            if len(ready) == len(sample.records) or time.monotonic() > deadline_s:
                self._skipped["not archived yet"] += len(sample.records) - len(ready)
                return sample._replace(records=ready)
            await asyncio.sleep(_POLL_S)

    def _made_again(self, partition: int, sample: _Sample) -> tuple[Replay, Names]:
        """The records of the sample, from the archive."""
        until: dict[str, dict[str, Position]] = {_VISITOR: {}, _ITEM: {}}
        for (entity, key), record in sample.records.items():
            until[entity][key] = position_of(record)
        names = Names()
        entities = [entity for entity, wanted in until.items() if wanted]
        log_id = log_id_of(self._place) or 0
        replay = Replay(entities, names, log_id=log_id, future_ms_max=self._future_ms_max, until=until)
        told = pl.col("visitor_key").is_in(sorted(until[_VISITOR]))
        if until[_ITEM]:
            told |= pl.col("item_id").list.eval(pl.element().is_in(sorted(until[_ITEM]))).list.any()
            told |= pl.col("visitor_key") == NOBODY
        hours = ArchiveHours(self._place, partition)
        erased = False
        for hour_ms in hours.hours_ms:
            if hour_ms > sample.at_ms - self._settings.lookback_ms - _HOUR_MS:
                rows = hours.rows(hour_ms, partition, COLUMNS, told)
                erased = erased or bool((rows["visitor_key"] == NOBODY).any())
                replay.apply(rows)
        if erased:
            # What an erased visitor did is counted online until it leaves the windows; the archive has forgotten it.
            for place in [place for place in sample.records if place[0] == _ITEM]:
                del sample.records[place]
                self._skipped["erased events"] += 1
        return replay, names

    def _compare(self, sample: _Sample, made: tuple[Replay, Names]) -> ParityReport:
        replay, names = made
        checked: Counter[str] = Counter()
        differing = []
        for (entity, key), record in sample.records.items():
            online = self._values(entity, record, sample.at_ms, lambda number: sample.names.ids_of([number])[0])
            offline = self._values(entity, replay.records[entity].get(key), sample.at_ms, names.name_of)
            features = sorted(name for name in online if not _same(online[name], offline[name]))
            checked[entity] += 1
            if features:
                differing.append(Differing(entity, key, features))
        return ParityReport(dict(checked), differing, dict(self._skipped))

    def _values(self, entity: str, record: bytes | None, at_ms: int, name_of: Callable[[int], str]) -> dict[str, Value]:
        """What can be told from the lookback alone."""
        view = _view_of(entity)
        values = read_view(view, [record], at_ms, name_of=name_of)
        if entity == _VISITOR:
            return values
        return {
            feature.name: values[feature.name]
            for feature in view.features
            if feature.window_ms is not None and feature.window_ms + 2 * _HOUR_MS <= self._settings.lookback_ms
        }

    def _some(self, found: Sequence[str], count: int) -> list[str]:
        return self._random.sample(sorted(found), min(count, len(found)))


def _view_of(entity: str) -> FeatureView:
    return next(view for view in REGISTRY.views if view.entity == entity)


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))
    if isinstance(one, list) and isinstance(other, list):
        pairs: Sequence[tuple[Value, Value]] = list(zip(one, other, strict=False))
        return len(one) == len(other) and all(_same(a, b) for a, b in pairs)
    return one == other
