"""A table of the embedded bus: a hash of latest values, followed by its stream of changes."""

import time
from typing import Any

from ingest.bus.contract import Entry
from ingest.bus.embedded_client import ValkeyLink
from ingest.bus.embedded_keys import FIRST_ID, LOGS, TRIMMED, position_of, split_id, stream_key, table_key
from ingest.bus.embedded_stream import decode_entries, streams_of
from ingest.bus.packs import PackCodec
from ingest.topics import Topic

_KEYS_A_SCAN = 1_000
_CHANGES_A_READ = 1_000
_BLOCK_MS = 250


class EmbeddedTable:
    """Keeps `contract.Table`."""

    def __init__(self, link: ValkeyLink, topic: Topic) -> None:
        self._reader = link.reader()
        self._topic = topic
        self._key = stream_key(topic, 0)
        self._codec = PackCodec()
        self._latest: dict[bytes, Entry] = {}
        self._unseen: list[Entry] = []
        self._after = FIRST_ID
        self._log_id = b""

    async def load(self) -> None:
        """Take over the whole hash; what differs from what we knew becomes changes.

        Raises:
            BusUnavailableError: the broker does not answer.
        """
        self._log_id = await self._reader.ask("HGET", LOGS, self._topic.name) or b""
        newest = await self._reader.ask("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        self._after = newest[0][0] if newest else await self._reader.ask("HGET", TRIMMED, self._key) or FIRST_ID
        found = await self._scan()
        gone = [entry for key, entry in self._latest.items() if key not in found]
        at = position_of(self._after)
        changed = [entry for key, entry in found.items() if self._latest.get(key) != entry]
        self._unseen += [Entry(entry.key, None, entry.event_time_ms, at) for entry in gone] + changed
        self._latest = found

    def items(self) -> dict[bytes, bytes]:
        """As the contract says."""
        return {key: entry.payload for key, entry in self._latest.items() if entry.payload is not None}

    async def changes(self, *, wait_ms: int) -> list[Entry]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            if self._unseen:
                unseen, self._unseen = self._unseen, []
                return unseen
            left_ms = int((deadline_s - time.monotonic()) * 1000)
            await self._follow(block_ms=max(0, min(left_ms, _BLOCK_MS)))
            if left_ms <= 0 and not self._unseen:
                return []

    async def close(self) -> None:
        """As the contract says."""
        await self._reader.close()

    async def _follow(self, *, block_ms: int) -> None:
        block: tuple[object, ...] = ("BLOCK", block_ms) if block_ms > 0 else ()
        reply = await self._reader.ask("XREAD", "COUNT", _CHANGES_A_READ, *block, "STREAMS", self._key, self._after)
        trimmed, log_id = await self._place()
        if split_id(trimmed) > split_id(self._after) or log_id != self._log_id:
            # Changes were trimmed before we saw them, or the data was wiped: the hash knows better.
            await self.load()
            return
        for _, messages in streams_of(reply):
            for message_id, fields in messages:
                self._after = message_id
                self._apply(decode_entries(self._topic, message_id, fields, self._codec)[0])

    async def _place(self) -> tuple[bytes, bytes]:
        trimmed = await self._reader.ask("HGET", TRIMMED, self._key) or FIRST_ID
        return trimmed, await self._reader.ask("HGET", LOGS, self._topic.name) or b""

    def _apply(self, entry: Entry) -> None:
        known = self._latest.get(entry.key)
        if known is not None and known.position >= entry.position:
            return
        if entry.payload is None:
            self._latest.pop(entry.key, None)
        else:
            self._latest[entry.key] = entry
        self._unseen.append(entry)

    async def _scan(self) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        cursor: Any = 0
        while True:
            cursor, chunk = await self._reader.ask("HSCAN", table_key(self._topic), cursor, "COUNT", _KEYS_A_SCAN)
            for key, value in chunk.items():
                found[key] = _entry_of(key, value)
            if int(cursor) == 0:
                return found


def _entry_of(key: bytes, value: bytes) -> Entry:
    message_id, time_ms, payload = value.split(b" ", 2)
    return Entry(key, payload, int(time_ms), position_of(message_id))
