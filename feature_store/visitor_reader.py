"""A visitor's latest events as arrays, in one round trip to the online store."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store import keys
from feature_store.online_store import OnlineStore
from feature_store.record_reader import RecordReader
from feature_store.visitor_record import VisitorRecord, read_visitor


class VisitorHistory(NamedTuple):
    """A visitor's latest events that have an item, oldest first; all of the same length n, at most 100.

    Attributes:
        item_ids: the item of each event.
        time_ms: shape (n,), Unix milliseconds, not decreasing.
        kind: shape (n,), `feature_store.kinds.Kind`.
    """

    item_ids: tuple[str, ...]
    time_ms: NDArray[np.int64]
    kind: NDArray[np.uint8]


class VisitorReader:
    """Reads visitors; concurrent requests share round trips. One for a process, made with its `OnlineStore`."""

    def __init__(self, store: OnlineStore) -> None:
        self._reader = RecordReader(store)

    async def history(self, visitor: bytes, deadline_ms: float) -> VisitorHistory:
        """The latest events of the visitor with this key (16 bytes); empty for one nobody has seen.

        Raises:
            StoreUnavailableError: no answer within `deadline_ms` milliseconds from now.
            RecordFormatError: the record is of another version.
        """
        record = await self.record(visitor, deadline_ms)
        with_item = record.item_index != 0
        return VisitorHistory(
            item_ids=self._reader.names.ids_of(record.item_index[with_item].tolist()),
            time_ms=record.time_ms[with_item],
            kind=record.kind[with_item],
        )

    async def record(self, visitor: bytes, deadline_ms: float) -> VisitorRecord:
        """All that is stored of the visitor, with item indexes; errors as `history`."""
        [found] = await self._reader.read([keys.visitor_key(visitor)], deadline_ms)
        return read_visitor(found)

    async def shown(self, visitor: bytes, deadline_ms: float) -> tuple[str, ...]:
        """The items shown to the visitor lately, at most 50, oldest first; errors as `history`."""
        record = await self.record(visitor, deadline_ms)
        return self._reader.names.ids_of(record.shown_item_index.tolist())
