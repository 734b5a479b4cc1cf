"""A visitor's stored records in words, and their erasure: what the law lets a person ask for."""

from typing import Any

from feature_store.erasure import Erasure, erase_visitor
from feature_store.kinds import Kind
from feature_store.online_store import OnlineStore
from feature_store.visitor_reader import VisitorReader
from feature_store.visitor_record import VisitorRecord, read_visitor
from ingest.bus.contract import Bus

_ERASE_MS = 5_000.0


class KnownPersons:
    """Reads and erases visitors by key; made with the reader of its process."""

    def __init__(self, bus: Bus, store: OnlineStore, reader: VisitorReader) -> None:
        self._bus = bus
        self._store = store
        self._reader = reader

    async def export(self, key: bytes, /, *, deadline_ms: float) -> tuple[bool, list[dict[str, Any]]]:
        """Is it a user's key, and what is stored: first under the key, then under each of the user's browsers.

        Of a browser its own record alone: who was identified on it may be somebody else. A user's browser is told
        whole, for it is erased whole.

        Raises:
            StoreUnavailableError, RecordFormatError: as `VisitorReader.history`.
        """
        person = await self._reader.person(key, deadline_ms)
        browsers = [browser for _, browser in person.identities[key].browsers]
        records = {key: person.records[key], **{b: person.records[b] for b in browsers if b in person.records}}
        return bool(browsers), [self._told(read_visitor(raw)) for raw in records.values()]

    async def erase(self, key: bytes, /, *, now_ms: int) -> Erasure:
        """Erase a browser, or a user with all of their browsers; errors as `erase_visitor`."""
        person = await self._reader.person(key, _ERASE_MS)
        return await erase_visitor(self._bus, self._store, person, now_ms=now_ms)

    def _told(self, record: VisitorRecord) -> dict[str, Any]:
        columns = (record.time_ms, record.kind, record.quantity)
        items = self._reader.names_of(record.item_index)
        return {
            "events": [
                {"time_ms": time_ms, "kind": Kind(kind).name.lower(), "quantity": quantity, "item": item or None}
                for (time_ms, kind, quantity), item in zip(
                    zip(*(column.tolist() for column in columns), strict=True), items, strict=True
                )
            ],
            "older_events_counted_only": record.overflowed,
            "shown": [
                {"time_ms": time_ms, "item": item}
                for time_ms, item in zip(
                    record.shown_time_ms.tolist(), self._reader.names_of(record.shown_item_index), strict=True
                )
            ],
        }
