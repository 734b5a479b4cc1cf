"""Replay the archive into a table: one row an entity, with its features as they were at an instant."""

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from feature_store.asked_features import DTYPES, by_entity
from feature_store.kernels import compile_all
from feature_store.plugins import load_plugin
from feature_store.reading import read_features
from feature_store.replay import Replay
from feature_store.settings import WorkerSettings
from feature_store.touch_columns import Names, columns_of
from ingest.archive_files import log_id_of
from ingest.archive_hours import ArchiveHours
from ingest.archive_place import ArchivePlace, open_place, place_of

_HOUR_MS = 3_600_000
_ROWS_A_FRAME = 20_000


class Backfilled(NamedTuple):
    """Events replayed, entities written, and the seconds that took: all of it, and until the last replay was done."""

    events: int
    entities: int
    seconds: float
    replay_s: float


def backfill_table(
    archive: Path | ArchivePlace,
    features: Sequence[str],
    out: Path,
    *,
    from_ms: int,
    to_ms: int,
    processes: int = 2,
    features_module: str = "",
    future_ms_max: int = WorkerSettings().future_ms_max,
) -> Backfilled:
    """Write `out`, Parquet: the key of every entity that was seen, and `features` as they were at `to_ms`.

    Through the kernels and the reading function of the online store, so that the values are those it would have had
    with nothing but these events. Partitions are shared out among processes; each holds one partition's records.

    Args:
        archive: where it lies.
        features: of one entity; names as `visitor:view_1h`.
        out: replaced when it is there.
        from_ms: events accepted before it are left out.
        to_ms: and those accepted after it; the instant of the values.
        processes: with 1, all of it happens in this one.
        features_module: where a shop's own features are declared, as in the settings.
        future_ms_max: as the worker has it.

    Raises:
        UnknownFeatureError: a feature that is not declared.
        ValueError: features of more than one entity.
        ArchiveError: the archive cannot be read.
    """
    plugin = load_plugin(features_module)
    [entity, *others] = by_entity(features, plugin.registry, [view.name for view in plugin.counted])
    if others:
        raise ValueError(
            f"a table has one row an entity: wanted features of one kind; got {entity}, {', '.join(others)}"
        )
    started_s = time.monotonic()
    place = place_of(archive)
    hours = ArchiveHours(place)
    largest_first = sorted(hours.partitions, key=hours.size_bytes, reverse=True)
    tasks = [
        _Task(place.address, place.storage_options, p, entity, from_ms, to_ms, future_ms_max) for p in largest_first
    ]
    dtypes = {name: DTYPES[plugin.registry.find(name)[1].feature.dtype] for name in features}
    schema = {entity: pl.String, **dtypes}
    out.parent.mkdir(parents=True, exist_ok=True)
    reading = _Reading(entity, list(features), to_ms, features_module, schema)
    events, replay_s, frames = 0, 0.0, []
    for replayed in _run(tasks, reading, processes):
        events += replayed.events
        replay_s = max(replay_s, replayed.done_s - started_s)
        frames.append(replayed)
    rows = _table(frames, reading)
    rows.write_parquet(out, compression="zstd", statistics=True)
    return Backfilled(events, len(rows), time.monotonic() - started_s, replay_s)


class _Task(NamedTuple):
    """One partition to replay, as another process can be told."""

    address: str
    options: dict[str, str] | None
    partition: int
    entity: str
    from_ms: int
    to_ms: int
    future_ms_max: int


class _Reading(NamedTuple):
    """How values are read from records."""

    entity: str
    features: list[str]
    at_ms: int
    features_module: str
    schema: dict[str, Any]

    def frame(self, records_of: Iterable[tuple[str, Sequence[bytes | None]]], names: Names) -> pl.DataFrame:
        """One row a key."""
        frames, rows = [], []
        registry = load_plugin(self.features_module).registry
        for key, records in records_of:
            values = read_features(
                self.entity, records, self.features, self.at_ms, name_of=names.name_of, registry=registry
            )
            rows.append((key, *values))
            if len(rows) >= _ROWS_A_FRAME:
                frames.append(pl.DataFrame(rows, schema=self.schema, orient="row"))
                rows = []
        return pl.concat([*frames, pl.DataFrame(rows, schema=self.schema, orient="row")])


class _Replayed(NamedTuple):
    """One partition: a visitor's rows are whole there; of other entities the records, to be summed over partitions."""

    partition: int
    events: int
    done_s: float
    rows: pl.DataFrame | None
    records: dict[str, bytes]


def _run(tasks: Sequence[_Task], reading: _Reading, processes: int) -> Iterable[_Replayed]:
    if processes == 1 or len(tasks) < 2:
        yield from (_replayed(task, reading) for task in tasks)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(tasks)), compile_all) as pool:
        yield from pool.imap_unordered(_replayed_apart, [(task, reading) for task in tasks])


def _replayed_apart(told: tuple[_Task, _Reading]) -> _Replayed:
    return _replayed(*told)


def _replayed(task: _Task, reading: _Reading) -> _Replayed:
    place = open_place(task.address, task.options)
    names = Names()
    views = [view for view in load_plugin(reading.features_module).counted if view.name == task.entity]
    entities = [] if views else [task.entity]
    log_id = log_id_of(place) or 0
    replay = Replay(entities, names, log_id=log_id, future_ms_max=task.future_ms_max, views=views)
    hours = ArchiveHours(place, task.partition)
    within = pl.col("accepted_at_ms").is_between(task.from_ms, task.to_ms)
    for hour_ms in hours.hours_ms:
        if task.from_ms - _HOUR_MS < hour_ms <= task.to_ms:
            replay.apply(hours.rows(hour_ms, task.partition, columns_of(views), within))
    records, done_s = replay.records[task.entity], time.monotonic()
    if task.entity != "visitor":
        return _Replayed(task.partition, replay.events, done_s, None, records)
    rows = reading.frame(((key, [record]) for key, record in records.items()), names)
    return _Replayed(task.partition, replay.events, done_s, rows, {})


def _table(parts: Sequence[_Replayed], reading: _Reading) -> pl.DataFrame:
    parts = sorted(parts, key=lambda part: part.partition)
    whole = [part.rows for part in parts if part.rows is not None]
    if whole:
        return pl.concat(whole).sort(reading.entity)
    records_of: dict[str, list[bytes | None]] = defaultdict(list)
    for part in parts:
        for key, record in part.records.items():
            records_of[key].append(record)
    # Records of buckets name nothing by number.
    return reading.frame(sorted(records_of.items()), Names())
