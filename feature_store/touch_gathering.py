"""Collect what a batch of events changes, record by record, as the arrays that kernels take."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.families import Family
from feature_store.touches import (
    AMOUNT,
    CATEGORY,
    ITEM,
    KIND,
    MAJOR,
    MINOR_INDEX,
    PRICE,
    ROW,
    TIME_MS,
    TOUCH_COLUMNS,
    Touches,
)
from ingest.bus.contract import Position
from ingest.events import Event

Numbers = NDArray[np.int64]


class PlacedEvent(NamedTuple):
    """An event and where in the log it lies."""

    event: Event
    partition: int
    position: Position


class Touched(NamedTuple):
    """The records of one family that a batch changes: their keys and partitions, and the touches by row."""

    family: Family
    keys: list[bytes]
    partitions: list[int]
    touches: Touches

    def only(self, rows: Sequence[int]) -> "Touched":
        """The same for some of the records."""
        renumbered = np.full(len(self.keys), -1, np.int64)
        renumbered[rows] = np.arange(len(rows))
        touches = self.touches[renumbered[self.touches[:, ROW]] >= 0].copy()
        touches[:, ROW] = renumbered[touches[:, ROW]]
        return Touched(self.family, [self.keys[i] for i in rows], [self.partitions[i] for i in rows], touches)


class EventPlaces(NamedTuple):
    """Of each event of a batch, shape (n,): position as two numbers, time, 32 bits of the visitor's key, partition."""

    major: NDArray[np.int64]
    minor_index: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    visitor: NDArray[np.int64]
    partition: NDArray[np.int64]


def places_of(placed: Sequence[PlacedEvent]) -> EventPlaces:
    """Where the events lie, and whose they are."""
    positions = [position for _, _, position in placed]
    return EventPlaces(
        np.array([position.major for position in positions], dtype=np.int64),
        np.array([position.minor << 32 | position.index for position in positions], dtype=np.int64),
        np.array([event.time_ms for event, _, _ in placed], dtype=np.int64),
        np.array([int(event.visitor_key[:8], 16) for event, _, _ in placed], dtype=np.int64),
        np.array([partition for _, partition, _ in placed], dtype=np.int64),
    )


def touched_by_number(
    family: Family, touches: Touches, partition: Numbers, number: Numbers, key_of: Callable[[int, int], bytes]
) -> Touched:
    """Touches, whose `ROW` is filled in, of records that a partition and a number name; both of shape (touches,)."""
    named, rows = np.unique(partition << 32 | number, return_inverse=True)
    touches[:, ROW] = rows
    partitions, numbers = (named >> 32).tolist(), (named & 0xFFFFFFFF).tolist()
    return Touched(family, list(map(key_of, partitions, numbers)), partitions, touches)


class Gathering:
    """The touches of one family. `flat` takes `width` numbers a touch: row, place of the event in the batch, and what
    the columns `KIND`, `AMOUNT`, `ITEM`, `CATEGORY`, `PRICE` shall hold, as many of them as the family needs; an
    amount that is not given is 1, and an item the visitor's 32 bits."""

    def __init__(self, family: Family, width: int) -> None:
        self.family = family
        self.keys: list[bytes] = []
        self.partitions: list[int] = []
        self.flat: list[int] = []
        self.rows: dict[Hashable, int] = {}
        """Row by what the record is known as within the batch. Look here before `row`: it is called for every line."""
        self._width = width

    def row(self, place: Hashable, partition: int, key_of: Callable[..., bytes], *parts: int | str | bytes) -> int:
        """The row of the record known as `place` within the batch; `key_of(*parts)` makes its key the first time."""
        row = self.rows.get(place)
        if row is None:
            row = self.rows[place] = len(self.keys)
            self.keys.append(key_of(*parts))
            self.partitions.append(partition)
        return row

    @property
    def places(self) -> Numbers:
        """Shape (touches,): the place of each one's event in the batch."""
        return np.array(self.flat[1 :: self._width], dtype=np.int64)

    def touched(self, places: EventPlaces) -> Touched:
        """What was gathered, as arrays."""
        given = np.array(self.flat, dtype=np.int64).reshape(-1, self._width)
        event = given[:, 1]
        touches = np.zeros((len(given), TOUCH_COLUMNS), np.int64)
        touches[:, ROW] = given[:, 0]
        touches[:, MAJOR], touches[:, MINOR_INDEX] = places.major[event], places.minor_index[event]
        touches[:, TIME_MS] = places.time_ms[event]
        columns = (KIND, AMOUNT, ITEM, CATEGORY, PRICE)[: self._width - 2]
        for place, column in enumerate(columns, 2):
            touches[:, column] = given[:, place]
        if AMOUNT not in columns:
            touches[:, AMOUNT] = 1
        if ITEM not in columns:
            touches[:, ITEM] = places.visitor[event]
        return Touched(self.family, self.keys, self.partitions, touches)
