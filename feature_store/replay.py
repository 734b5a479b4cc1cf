"""The records of one partition, made again in memory from archived columns by the kernels that the worker runs."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from feature_store import keys
from feature_store.asked_features import FAMILY_OF_ENTITY
from feature_store.custom import CountedView
from feature_store.custom_touches import CustomTouch, custom_touches, gather_custom
from feature_store.touch_columns import Batch, Names, Touching, applicable, touch_columns
from feature_store.touch_gathering import PlacedEvent, Touched
from feature_store.touches import MAJOR, MINOR_INDEX, ROW
from ingest.archive_rows import events_of
from ingest.bus.contract import Position

Records = dict[str, bytes]
"""By what their entity is called: see `Batch.keys_of`; of a counted view its key."""


class Replay:
    """Takes archived rows in order of position; has every record as the worker would have written it by then.

    Args:
        entities: whose records are kept; of those with a family of their own.
        names: numbers of items, categories and keys of counted views; new ones are given as they come.
        log_id: of the archive.
        future_ms_max: as the worker has it.
        until: by entity, of which keys alone records are kept, and up to which position each.
        views: a shop's own, whose records are kept too, under the view's name.
    """

    def __init__(
        self,
        entities: Sequence[str],
        names: Names,
        *,
        log_id: int,
        future_ms_max: int,
        until: Mapping[str, Mapping[str, Position]] | None = None,
        views: Sequence[CountedView] = (),
    ) -> None:
        self._entity_of = {FAMILY_OF_ENTITY[entity].name: entity for entity in entities}
        self._families = [FAMILY_OF_ENTITY[entity] for entity in entities]
        self.names = names
        self._log_id = log_id
        self.future_ms_max = future_ms_max
        self._until = until
        self._views = views
        self._view_of = {view.family.name: view.name for view in views}
        self.records: dict[str, Records] = {entity: {} for entity in (*entities, *self._view_of.values())}
        """By entity, or by the name of a counted view."""
        self.events = 0
        """Events applied."""

    def apply(self, rows: pl.DataFrame) -> None:
        """Take in rows, with the columns `columns_of(views)`."""
        batch = touch_columns(rows, self.names, self._families, future_ms_max=self.future_ms_max)
        self.events += len(batch.events)
        for touching in batch.families:
            entity = self._entity_of[touching.family.name]
            if self._until is not None:
                touching = _up_to(touching, self._until[entity], batch, self.names)
            if len(touching.touches):
                self._apply(entity, touching, batch)
        if self._views:
            placed, touches = counted_in(rows, self._views, future_ms_max=self.future_ms_max)
            number_of = {touch.name: self.names.number_of(touch.name) for touch in touches}
            for touched in gather_custom(placed, touches, self._views, number_of=number_of):
                self._apply_counted(self._view_of[touched.family.name], touched)

    def _apply(self, entity: str, touching: Touching, batch: Batch) -> None:
        different, touching.touches[:, ROW] = np.unique(touching.entity, return_inverse=True)
        called = batch.keys_of(touching.family, different.tolist(), self.names)
        self._write(entity, Touched(touching.family, [], [], touching.touches), called)

    def _apply_counted(self, view: str, touched: Touched) -> None:
        self._write(view, touched, [called_in_view(view, key, self.names) for key in touched.keys])

    def _write(self, entity: str, touched: Touched, called: Sequence[str]) -> None:
        records = self.records[entity]
        stored = [records.get(key) for key in called]
        written = touched.family.apply(stored, touched.touches, self.names.hashes, self._log_id)
        records.update((key, record) for key, record in zip(called, written, strict=True) if record is not None)


def called_in_view(view: str, key: bytes, names: Names) -> str:
    """The key that a counted view gave, by the key of its record."""
    return names.name_of(keys.split_item_key(key)[1]).removeprefix(keys.custom_name(view, ""))


def counted_in(
    rows: pl.DataFrame, views: Sequence[CountedView], *, future_ms_max: int
) -> tuple[list[PlacedEvent], list[CustomTouch]]:
    """What counted views count of archived rows. Their key functions take events, so here events are made."""
    counted = {event for view in views for event in view.counts.values()}
    told = rows.filter(applicable(future_ms_max) & pl.col("event").is_in(sorted(counted)))
    placed = [PlacedEvent(row.event, row.partition, row.position) for row in events_of(told)]
    return placed, custom_touches(placed, views)


def _up_to(touching: Touching, until: Mapping[str, Position], batch: Batch, names: Names) -> Touching:
    """The touches of some entities, each up to a position."""
    different, place = np.unique(touching.entity, return_inverse=True)
    ends = [until.get(key, _NEVER) for key in batch.keys_of(touching.family, different.tolist(), names)]
    major = np.array([end.major for end in ends], np.int64)[place]
    minor_index = np.array([end.minor << 32 | end.index for end in ends], np.int64)[place]
    touches = touching.touches
    kept = (touches[:, MAJOR] < major) | ((touches[:, MAJOR] == major) & (touches[:, MINOR_INDEX] <= minor_index))
    return Touching(touching.family, touching.entity[kept], touching.event[kept], touches[kept])


_NEVER = Position(-1, 0, 0)
