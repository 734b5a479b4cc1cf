"""Training rows without a look into the future: features of each row's entities as they were at its instant."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from feature_store.asked_features import DTYPES, by_entity
from feature_store.plugins import Plugin, load_plugin
from feature_store.point_in_time import Asked, PointInTime, with_rounds
from feature_store.settings import WorkerSettings
from ingest.archive_files import log_id_of
from ingest.archive_hours import ArchiveHours
from ingest.archive_place import ArchivePlace, place_of

_ENDS_MS = 1 << 60


def training_set(
    entity_rows: pl.LazyFrame | pl.DataFrame,
    features: Sequence[str],
    *,
    archive: Path | ArchivePlace,
    at: str = "at_ms",
    features_module: str = "",
    entities_max: int = 200_000,
    future_ms_max: int = WorkerSettings().future_ms_max,
) -> pl.LazyFrame:
    """`entity_rows` with a column for each feature, as the online store would have answered at that instant.

    A row sees the events that the bus had accepted by its instant and no others: one that came late is not known before
    it came. The values are made by the kernels and the reading function that the online store's answers are made by.

    Lazy, and of bounded memory: it goes through the archive hour by hour and gives the rows of each hour as they are
    ready, in the order of hours. Held are an hour of one partition, the rows of an hour, and one record for each of at
    most `entities_max` entities; for more, the archive is read several times.

    Args:
        entity_rows: a column for each entity that features are asked of, named as it (`visitor`: 32 hex digits of the
            key; `item`, `category`, `placement`, a counted view: the id, name or key), and the instant; other columns
            are kept.
        features: names as `visitor:view_1h`; `afterclick features list` shows them.
        archive: where it lies.
        at: the column of the instant: Unix ms, or a Datetime (in UTC where it has no zone).
        features_module: where a shop's own features are declared, as in the settings.
        entities_max: of the first entity, in one pass over the archive.
        future_ms_max: as the worker has it.

    Raises:
        UnknownFeatureError: a feature that is not declared.
        ValueError: a column is missing.
        ArchiveError: when it is collected: the archive cannot be read.
    """
    plugin = load_plugin(features_module)
    asked = by_entity(features, plugin.registry, [view.name for view in plugin.counted])
    rows = entity_rows.lazy()
    schema = rows.collect_schema()
    wanted = [entity for entity in asked if entity != "event_name"]
    missing = [column for column in (*wanted, at) if column not in schema]
    if missing:
        raise ValueError(f"entity rows: wanted the columns {', '.join((*wanted, at))}; {', '.join(missing)} is missing")
    rows = rows.with_columns(_instant(at, schema[at]).alias(_AT))
    dtypes = {name: DTYPES[plugin.registry.find(name)[1].feature.dtype] for name in features}
    training = _Training(rows, asked, dtypes, place_of(archive), plugin, entities_max, future_ms_max)
    return register_io_source(training.frames, schema={**schema, **dtypes})


_AT = "_instant_ms"


def _instant(at: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(at).dt.epoch("ms") if isinstance(dtype, pl.Datetime) else pl.col(at).cast(pl.Int64)


class _Training:
    """What one training set is made of."""

    def __init__(
        self,
        rows: pl.LazyFrame,
        asked: Mapping[str, list[str]],
        dtypes: Mapping[str, Any],
        place: ArchivePlace,
        plugin: Plugin,
        entities_max: int,
        future_ms_max: int,
    ) -> None:
        self._rows = rows
        self._asked = asked
        self._dtypes = dtypes
        self._place = place
        self._registry = plugin.registry
        self._views = [view for view in plugin.counted if view.name in asked]
        self._entities_max = entities_max
        self._future_ms_max = future_ms_max

    def frames(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """As polars asks an input for frames."""
        del batch_size
        left = n_rows
        for frame in self._all():
            frame = frame.drop(_AT)
            if predicate is not None:
                frame = frame.filter(predicate)
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame if with_columns is None else frame.select(with_columns)
            if left == 0:
                return

    def _all(self) -> Iterator[pl.DataFrame]:
        first = next((entity for entity in self._asked if entity != "event_name"), None)
        if first is None:
            yield from self._in_one_pass(self._rows)
            return
        entities = self._rows.select(pl.col(first).n_unique()).collect(engine="streaming").item()
        passes = max(1, -(-int(entities) // self._entities_max))
        for number in range(passes):
            yield from self._in_one_pass(self._rows.filter(pl.col(first).hash() % passes == number))

    def _in_one_pass(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        asked = {entity: Asked(names, _distinct(rows, entity)) for entity, names in self._asked.items()}
        log_id = log_id_of(self._place) or 0
        moments = PointInTime(asked, self._views, self._registry, log_id=log_id, future_ms_max=self._future_ms_max)
        hours = ArchiveHours(self._place)
        newest_ms = rows.select(pl.col(_AT).max()).collect(engine="streaming").item()
        begins_ms = [hour_ms for hour_ms in hours.hours_ms if newest_ms is not None and hour_ms <= newest_ms]
        # Rows of before the archive belong to its first hour, of whose events they see none.
        for place, hour_ms in enumerate(begins_ms or [0]):
            since_ms = 0 if place == 0 else hour_ms
            until_ms = begins_ms[place + 1] if place + 1 < len(begins_ms) else _ENDS_MS
            part = rows.filter(pl.col(_AT).is_between(since_ms, until_ms, closed="left")).collect(engine="streaming")
            instants = {entity: with_rounds(_keys(part, entity)) for entity in asked}
            for partition in hours.partitions:
                events = hours.rows(hour_ms, partition, moments.columns, moments.telling)
                if len(events):
                    moments.take(events, instants)
            yield self._joined(part, moments, instants)

    def _joined(self, part: pl.DataFrame, moments: PointInTime, instants: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        columns: dict[str, dict[str, list[Any]]] = {
            entity: {name: [] for name in (entity, _AT, *names)} for entity, names in self._asked.items()
        }
        for entity, key, at_ms, values in moments.values(instants):
            for column, value in zip(columns[entity].values(), (key, at_ms, *values), strict=True):
                column.append(value)
        for entity, found in columns.items():
            kinds = {entity: pl.String, _AT: pl.Int64, **self._dtypes}
            frame = pl.DataFrame(found, schema={name: kinds[name] for name in found})
            part = part.with_columns(_key(entity)).join(
                frame.rename({entity: _KEY}), on=[_KEY, _AT], how="left", maintain_order="left"
            )
            part = part.drop(_KEY)
        return part


_KEY = "_entity_key"


def _key(entity: str) -> pl.Expr:
    return (pl.lit("") if entity == "event_name" else pl.col(entity).fill_null("")).alias(_KEY)


def _keys(part: pl.DataFrame, entity: str) -> pl.DataFrame:
    return part.select(_key(entity).alias("key"), pl.col(_AT).alias("at_ms"))


def _distinct(rows: pl.LazyFrame, entity: str) -> frozenset[str]:
    return frozenset(rows.select(_key(entity)).unique().collect(engine="streaming")[_KEY].to_list())
