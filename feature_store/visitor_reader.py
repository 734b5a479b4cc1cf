"""A visitor's latest events as arrays: their own, and as a known user those of all their browsers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.online_store import OnlineStore
from feature_store.person_reader import Person, PersonReader
from feature_store.person_record import record_of_person
from feature_store.record_reader import RecordReader
from feature_store.visitor_layout import EVENTS_MAX, SHOWN_MAX
from feature_store.visitor_record import VisitorRecord


class VisitorHistory(NamedTuple):
    """A visitor's latest events that have an item, oldest first; all but `shown` of the same length n, at most 100.

    Attributes:
        item_ids: the item of each event.
        time_ms: shape (n,), Unix milliseconds, not decreasing.
        kind: shape (n,), `feature_store.kinds.Kind`.
        shown: items suggested to them lately, at most 50, oldest first; one stands there as often as it was shown.
    """

    item_ids: tuple[str, ...]
    time_ms: NDArray[np.int64]
    kind: NDArray[np.uint8]
    shown: tuple[str, ...] = ()


class VisitorReader:
    """Reads visitors; concurrent requests share round trips. One for a process, made with its `OnlineStore`."""

    def __init__(self, store: OnlineStore) -> None:
        self._reader = RecordReader(store)
        self._persons = PersonReader(self._reader, users_max=store.settings.known_users_max)

    async def history(self, visitor: bytes, deadline_ms: float) -> VisitorHistory:
        """The latest events of the visitor with this key (16 bytes, a browser's or a user's); empty for a stranger.

        A browser that belongs to a user stands for the user: what they did elsewhere counts, and what another user did
        on this browser does not. After a logout only what came since is told.

        Raises:
            StoreUnavailableError: no answer within `deadline_ms` milliseconds from now.
            RecordFormatError: the record is of another version.
        """
        record = await self.record(visitor, deadline_ms)
        # Of several browsers there are more.
        with_item = np.flatnonzero(record.item_index)[-EVENTS_MAX:]
        return VisitorHistory(
            item_ids=self._reader.names.ids_of(record.item_index[with_item].tolist()),
            time_ms=record.time_ms[with_item],
            kind=record.kind[with_item],
            shown=self._reader.names.ids_of(record.shown_item_index[-SHOWN_MAX:].tolist()),
        )

    async def record(self, visitor: bytes, deadline_ms: float) -> VisitorRecord:
        """All that is stored of the visitor, with item indexes; errors as `history`."""
        return record_of_person(await self._persons.read(visitor, deadline_ms))

    async def person(self, visitor: bytes, deadline_ms: float) -> Person:
        """The records as they are stored; errors as `history`."""
        return await self._persons.read(visitor, deadline_ms)

    async def persons(self, visitors: Sequence[bytes], deadline_ms: float) -> list[Person]:
        """Several visitors in the round trips of one; errors as `history`."""
        return await self._persons.read_many(visitors, deadline_ms)

    async def records(self, wanted: Sequence[bytes], deadline_ms: float) -> list[bytes | None]:
        """Records of any kind by their keys, in the same round trips; errors as `history`."""
        return await self._reader.read(wanted, deadline_ms)

    def name_of(self, number: int) -> str:
        """The item's id, or the category's name, by a number in a record that was just read."""
        return self._reader.names.ids_of((number,))[0]

    def names_of(self, item_indexes: NDArray[np.uint32]) -> tuple[str, ...]:
        """The ids of items in a record that was just read; "" for no item."""
        return self._reader.names.ids_of(item_indexes.tolist())

    async def shown(self, visitor: bytes, deadline_ms: float) -> tuple[str, ...]:
        """The items shown to the visitor lately, at most 50, oldest first; errors as `history`."""
        record = await self.record(visitor, deadline_ms)
        return self._reader.names.ids_of(record.shown_item_index[-SHOWN_MAX:].tolist())
