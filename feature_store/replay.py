"""The records of one partition, made again in memory from archived columns by the kernels that the worker runs."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from feature_store.families import Family
from feature_store.touch_columns import Batch, Names, Touching, touch_columns
from feature_store.touches import ROW


class Replay:
    """Takes archived rows in order of position; has every record as the worker would have written it by then.

    Args:
        families: which records are kept.
        names: numbers of items and categories; new ones are given as they come.
        log_id: of the archive.
        future_ms_max: as the worker has it.
    """

    def __init__(self, families: Sequence[Family], names: Names, *, log_id: int, future_ms_max: int) -> None:
        self._families = families
        self.names = names
        self._log_id = log_id
        self._future_ms_max = future_ms_max
        self.records: dict[Family, dict[str, bytes]] = {family: {} for family in families}
        """By `Batch.keys_of`."""
        self.events = 0
        """Events applied."""

    def apply(self, rows: pl.DataFrame) -> None:
        """Take in rows, with the columns `touch_columns.COLUMNS`."""
        batch = touch_columns(rows, self.names, self._families, future_ms_max=self._future_ms_max)
        self.events += len(batch.events)
        for touching in batch.families:
            self._apply(touching, batch)

    def _apply(self, touching: Touching, batch: Batch) -> None:
        records = self.records[touching.family]
        different, touching.touches[:, ROW] = np.unique(touching.entity, return_inverse=True)
        entities = batch.keys_of(touching.family, different.tolist(), self.names)
        stored = [records.get(entity) for entity in entities]
        written = touching.family.apply(stored, touching.touches, self.names.hashes, self._log_id)
        records.update((entity, record) for entity, record in zip(entities, written, strict=True) if record is not None)
