"""Publish to the embedded bus: packs to streams, single entries to tables and queues."""

import time
from collections.abc import Sequence
from typing import Any

from ingest.bus.contract import Published, Record
from ingest.bus.embedded_client import LogChangedError, ValkeyLink
from ingest.bus.embedded_keys import position_of, stream_key
from ingest.bus.metrics import PUBLISHED_BYTES
from ingest.bus.packs import PackCodec
from ingest.bus.publishing import Verdicts, fit_places, packs_of
from ingest.errors import BusError, BusFullError
from ingest.topics import Topic

ADAPTER = "embedded"

# Lua's `unpack` and the server's patience: a longer publish is sent in several calls.
_PACKS_A_CALL = 64
_ENTRIES_A_CALL = 1_000


class EmbeddedPublisher:
    """Publishes to topics whose log is known."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link
        self._codec = PackCodec()

    async def publish(
        self, topic: Topic, log_id: int, partitions: int, records: Sequence[Record], *, delay_ms: int
    ) -> list[Published]:
        """One verdict per record.

        Raises:
            LogChangedError: the topic is gone or another one; nothing of this call's rest was published.
        """
        verdicts = Verdicts(ADAPTER, len(records))
        places = fit_places(records, verdicts, self._link.settings, deletions=topic.kind == "table")
        deadline_s = time.monotonic() + self._link.settings.send_deadline_ms / 1000
        if topic.kind == "stream":
            await self._packs(topic, log_id, partitions, records, places, verdicts, deadline_s)
        else:
            await self._entries(topic, log_id, records, places, verdicts, deadline_s, delay_ms)
        return verdicts.all()

    async def _packs(
        self,
        topic: Topic,
        log_id: int,
        partitions: int,
        records: Sequence[Record],
        places: Sequence[int],
        verdicts: Verdicts,
        deadline_s: float,
    ) -> None:
        settings = self._link.settings
        packs = packs_of(records, places, partitions=partitions, codec=self._codec, settings=settings)
        for begin in range(0, len(packs), _PACKS_A_CALL):
            group = packs[begin : begin + _PACKS_A_CALL]
            keys = [stream_key(topic, pack.partition) for pack in group]
            messages = [pack.message for pack in group]
            try:
                ids = await self._send("bus_publish", keys, topic, log_id, messages, deadline_s)
            except LogChangedError:
                raise
            except BusError as error:
                for pack in group:
                    verdicts.refuse(pack.places, error)
                continue
            for pack, message_id in zip(group, ids, strict=True):
                first = position_of(message_id)
                verdicts.give_pack(pack, first)
                PUBLISHED_BYTES.labels(ADAPTER).inc(len(pack.message))

    async def _entries(
        self,
        topic: Topic,
        log_id: int,
        records: Sequence[Record],
        places: Sequence[int],
        verdicts: Verdicts,
        deadline_s: float,
        delay_ms: int,
    ) -> None:
        for begin in range(0, len(places), _ENTRIES_A_CALL):
            group = places[begin : begin + _ENTRIES_A_CALL]
            chosen = [records[place] for place in group]
            function = "bus_put" if topic.kind == "table" else "bus_enqueue"
            fields = _table_fields(chosen) if topic.kind == "table" else _queue_fields(chosen, delay_ms)
            try:
                ids = await self._send(function, [stream_key(topic, 0)], topic, log_id, fields, deadline_s)
            except LogChangedError:
                raise
            except BusError as error:
                verdicts.refuse(group, error)
                continue
            for place, message_id in zip(group, ids, strict=True):
                verdicts.give(place, position_of(message_id))

    async def _send(
        self, function: str, keys: list[bytes], topic: Topic, log_id: int, fields: Sequence[object], deadline_s: float
    ) -> Any:
        bytes_max = self._link.settings.bytes_max
        args = (topic.name, log_id, bytes_max, *fields)
        try:
            return await self._link.call_until(deadline_s, function, keys, *args)
        except BusFullError as error:
            if "OOM" not in str(error):
                raise
        # The server is at its memory limit before we are at ours: make room, then once more.
        await self._link.call("bus_reclaim", [], bytes_max // 64)
        return await self._link.call_until(deadline_s, function, keys, *args)


def _table_fields(records: Sequence[Record]) -> list[object]:
    fields: list[object] = []
    for record in records:
        present = record.payload is not None
        fields += [record.key, record.event_time_ms, "1" if present else "0", record.payload or b""]
    return fields


def _queue_fields(records: Sequence[Record], delay_ms: int) -> list[object]:
    fields: list[object] = [delay_ms]
    for record in records:
        fields += [record.key, record.event_time_ms, record.payload or b""]
    return fields
