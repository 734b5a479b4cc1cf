"""Values of features at many instants of the past: events are taken in up to each instant, and no further."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.asked_features import FAMILY_OF_ENTITY
from feature_store.custom import CountedView
from feature_store.custom_touches import gather_custom
from feature_store.definitions import Registry, Value
from feature_store.families import VISITORS, Family
from feature_store.reading import read_features
from feature_store.replay import called_in_view, counted_in
from feature_store.touch_columns import Names, columns_of, touch_columns
from feature_store.touches import MAJOR, MINOR_INDEX, ROW, Touches

Numbers = NDArray[np.int64]
_AFTERWARDS = 1 << 40
"""The round of what was accepted after the last instant."""


class Asked(NamedTuple):
    """What is wanted of one kind of entity: its features' names, and which of them will be asked for at all."""

    features: list[str]
    keys: frozenset[str]


class PointInTime:
    """The records of the entities that are asked for, and no others, brought forward from slice to slice of time.

    Memory: one record (about 1 kB) for each visitor asked for; for each of the others one a partition.

    Args:
        asked: by entity.
        views: a shop's own counted views among them.
        registry: where the features are declared.
        log_id: of the archive.
        future_ms_max: as the worker has it.
    """

    def __init__(
        self,
        asked: Mapping[str, Asked],
        views: Sequence[CountedView],
        registry: Registry,
        *,
        log_id: int,
        future_ms_max: int,
    ) -> None:
        self._asked = asked
        self._views = views
        self._view_of = {view.family.name: view.name for view in views}
        self._entity_of = {family.name: entity for entity, family in FAMILY_OF_ENTITY.items() if entity in asked}
        self._families = [FAMILY_OF_ENTITY[entity] for entity in self._entity_of.values()]
        self._registry = registry
        self._future_ms_max = future_ms_max
        self._names = Names()
        self._kept = {entity: _Kept(of.keys, self._names, log_id) for entity, of in asked.items()}
        self._accepted_ms: dict[int, int] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """What `take` needs of the archive."""
        return columns_of(self._views)

    @property
    def telling(self) -> pl.Expr:
        """Which archived rows say something of what is asked for."""
        if not set(self._asked) <= {"visitor", "item"}:
            return pl.lit(True)
        telling = pl.lit(False)
        if "visitor" in self._asked:
            telling |= pl.col("visitor_key").is_in(sorted(self._asked["visitor"].keys))
        if "item" in self._asked:
            items = sorted(self._asked["item"].keys)
            telling |= pl.col("item_id").list.eval(pl.element().is_in(items)).list.any()
        return telling

    def take(self, rows: pl.DataFrame, instants: Mapping[str, pl.DataFrame]) -> None:
        """Hold one partition's rows of the present slice, in order of position, until `values`.

        Args:
            rows: with `columns`, at least one row.
            instants: as of `values`.
        """
        partition = int(rows["partition"][0])
        accepted_ms = np.maximum.accumulate(rows["accepted_at_ms"].to_numpy())
        # What lies later in the log was not known earlier, whatever a clock said that was set back.
        accepted_ms = np.maximum(accepted_ms, self._accepted_ms.get(partition, 0))
        self._accepted_ms[partition] = int(accepted_ms[-1])
        rows = rows.with_columns(accepted_at_ms=pl.Series(accepted_ms))
        batch = touch_columns(rows, self._names, self._families, future_ms_max=self._future_ms_max)
        accepted_ms = batch.events["accepted_at_ms"].to_numpy()
        for touching in batch.families:
            entity = self._entity_of[touching.family.name]
            different, place = np.unique(touching.entity, return_inverse=True)
            called = batch.keys_of(touching.family, different.tolist(), self._names)
            found = _Found(touching.family, called, place, touching.touches, accepted_ms[touching.event])
            self._kept[entity].hold(found, partition, instants[entity])
        for view, found in self._counted(rows):
            self._kept[view].hold(found, partition, instants[view])

    def _counted(self, rows: pl.DataFrame) -> Iterator[tuple[str, "_Found"]]:
        """What the shop's own views count of the rows."""
        if not self._views:
            return
        placed, touches = counted_in(rows, self._views, future_ms_max=self._future_ms_max)
        number_of = {touch.name: self._names.number_of(touch.name) for touch in touches}
        positions = rows["position"].to_list()
        accepted_ms = dict(zip(positions, rows["accepted_at_ms"].to_list(), strict=True))
        by_position = {
            (p.position.major, p.position.minor << 32 | p.position.index): accepted_ms[str(p.position)] for p in placed
        }
        for touched in gather_custom(placed, touches, self._views, number_of=number_of):
            view = self._view_of[touched.family.name]
            called = [called_in_view(view, key, self._names) for key in touched.keys]
            accepted = [by_position[touch[MAJOR], touch[MINOR_INDEX]] for touch in touched.touches.tolist()]
            place = touched.touches[:, ROW].copy()
            yield view, _Found(touched.family, called, place, touched.touches, np.array(accepted, np.int64))

    def values(self, instants: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, str, int, list[Value]]]:
        """(entity, key, instant, values of its features) for every instant; then everything held is taken in.

        Args:
            instants: by entity a frame of `key`, `at_ms` and `round`, the place of the instant among those of its key
                in this slice; each pair once.
        """
        for entity, asked in self._asked.items():
            kept = self._kept[entity]
            for key, at_ms in kept.advance(instants[entity]):
                records = kept.records_of(key)
                name_of = self._names.name_of
                values = read_features(entity, records, asked.features, at_ms, name_of=name_of, registry=self._registry)
                yield entity, key, at_ms, values


def with_rounds(instants: pl.DataFrame) -> pl.DataFrame:
    """`key` and `at_ms`, each pair once, in order of time, with the `round` that `PointInTime` goes by."""
    return (
        instants.unique()
        .sort("at_ms", "key")
        .with_columns(round=pl.int_range(pl.len(), dtype=pl.Int64).over("key", order_by="at_ms"))
    )


class _Found(NamedTuple):
    """Touches of one family: `called[place[i]]` is what the i-th is of, and when its event was accepted."""

    family: Family
    called: Sequence[str]
    place: Numbers
    touches: Touches
    accepted_ms: Numbers


class _Kept:
    """The records of one family, and the touches that wait for their round."""

    def __init__(self, keys: frozenset[str], names: Names, log_id: int) -> None:
        self._keys = keys
        self._names = names
        self._log_id = log_id
        self._records: list[bytes | None] = []
        self._places: dict[tuple[int, str], int] = {}
        self._places_of: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._held: list[tuple[Numbers, Touches]] = []
        self._family: Family = VISITORS

    def records_of(self, key: str) -> list[bytes | None]:
        """Those of all partitions, in their order, so that sums come to the same last bit as online."""
        return [self._records[place] for _, place in sorted(self._places_of.get(key, ()))] or [None]

    def hold(self, found: _Found, partition: int, instants: pl.DataFrame) -> None:
        """Keep the touches of the keys asked for, each with its round: that of the first instant not before it."""
        self._family = found.family
        places = np.array([self._place(partition, key) if key in self._keys else -1 for key in found.called], np.int64)
        wanted = np.flatnonzero(places[found.place] >= 0)
        if not len(wanted):
            return
        touches = found.touches[wanted]
        touches[:, ROW] = places[found.place[wanted]]
        of_key = pl.Series(found.called)[found.place[wanted]]
        self._held.append((_rounds(of_key, found.accepted_ms[wanted], instants), touches))

    def advance(self, instants: pl.DataFrame) -> Iterator[tuple[str, int]]:
        """Each key and instant, at the moment when its records hold what was accepted by then."""
        rounds = np.concatenate([found for found, _ in self._held] or [np.zeros(0, np.int64)])
        touches = np.concatenate([found for _, found in self._held]) if self._held else np.zeros((0, 0), np.int64)
        self._held = []
        order = np.argsort(rounds, kind="stable")
        rounds, touches = rounds[order], touches[order]
        done = 0
        for (number,), asked in instants.sort("round").group_by("round", maintain_order=True):
            end = int(np.searchsorted(rounds, number, side="right"))
            self._apply(touches[done:end])
            done = end
            yield from asked.select("key", "at_ms").iter_rows()
        self._apply(touches[done:])

    def _apply(self, touches: Touches) -> None:
        if not len(touches):
            return
        different, touches[:, ROW] = np.unique(touches[:, ROW], return_inverse=True)
        places = different.tolist()
        stored = [self._records[place] for place in places]
        written = self._family.apply(stored, touches, self._names.hashes, self._log_id)
        for place, record in zip(places, written, strict=True):
            if record is not None:
                self._records[place] = record

    def _place(self, partition: int, key: str) -> int:
        place = self._places.get((partition, key))
        if place is None:
            place = self._places[partition, key] = len(self._records)
            self._places_of[key].append((partition, place))
            self._records.append(None)
        return place


def _rounds(keys: pl.Series, accepted_ms: Numbers, instants: pl.DataFrame) -> Numbers:
    """Shape (n,): of each touch the round of the first instant of its key that is not before its acceptance."""
    touches = pl.DataFrame({"key": keys, "at_ms": accepted_ms}).with_columns(n=pl.int_range(pl.len()))
    found = touches.sort("at_ms").join_asof(
        instants.sort("at_ms"), on="at_ms", by="key", strategy="forward", check_sortedness=False
    )
    return found.sort("n")["round"].fill_null(_AFTERWARDS).to_numpy()
