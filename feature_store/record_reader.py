"""Read records for many concurrent callers: those of one turn of the event loop share one round trip."""

import asyncio
from collections.abc import Sequence

from prometheus_client import Counter

from feature_store import keys
from feature_store.errors import StoreChangedError, StoreUnavailableError
from feature_store.item_index import ItemNames
from feature_store.online_store import OnlineStore, StoreIdentity
from feature_store.valkey_connection import Command

_READS = Counter("afterclick_feature_store_record_reads_total", "Records asked for by readers")
_ROUND_TRIPS = Counter("afterclick_feature_store_read_round_trips_total", "Round trips that answered these reads")
_CHANGES = Counter("afterclick_feature_store_reader_changes_total", "Times a reader found another store and forgot")
_TRIES = 3

Records = list[bytes | None]
_Waiting = tuple[Sequence[bytes], float, "asyncio.Future[Records]"]


class RecordReader:
    """Reads records and keeps the item ids up to date along with them.

    After an answer, `names` knows every item index that the records hold: each round trip also brings the ids that
    were given since the last one.
    """

    def __init__(self, store: OnlineStore) -> None:
        self.names = ItemNames()
        self._store = store
        self._identity: StoreIdentity | None = None
        self._waiting: list[_Waiting] = []
        self._flushes: set[asyncio.Task[None]] = set()

    async def read(self, wanted: Sequence[bytes], deadline_ms: float) -> Records:
        """The records under `wanted`, None where there is none.

        Raises:
            StoreUnavailableError: no answer within `deadline_ms` from now.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Records] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._start_flush)
        self._waiting.append((wanted, deadline_ms, future))
        _READS.inc(len(wanted))
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                return await future
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"online store: wanted records within {deadline_ms:.1f} ms; none came; answer without them"
            ) from error

    def _start_flush(self) -> None:
        size = self._store.settings.keys_per_read_max
        while self._waiting:
            batch: list[_Waiting] = []
            key_count = 0
            while self._waiting and (not batch or key_count + len(self._waiting[0][0]) <= size):
                batch.append(self._waiting.pop(0))
                key_count += len(batch[-1][0])
            task = asyncio.get_running_loop().create_task(self._flush(batch))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _flush(self, batch: list[_Waiting]) -> None:
        try:
            wanted = [key for keys_wanted, _, _ in batch for key in keys_wanted]
            records = await self._fetch(wanted, max(deadline_ms for _, deadline_ms, _ in batch))
        except (StoreUnavailableError, StoreChangedError) as error:
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(StoreUnavailableError(str(error)))
            return
        at = 0
        for keys_wanted, _, future in batch:
            if not future.done():
                future.set_result(records[at : at + len(keys_wanted)])
            at += len(keys_wanted)

    async def _fetch(self, wanted: list[bytes], timeout_ms: float) -> Records:
        for _ in range(_TRIES):
            known = len(self.names)
            commands: list[Command] = [("MGET", keys.GENERATION, *wanted), ("LRANGE", keys.ITEM_IDS, known, -1)]
            identity = self._identity
            try:
                [[generation, *records], added] = await self._store.send(
                    commands, timeout_ms=timeout_ms, run_id=identity.run_id if identity else None
                )
            except StoreChangedError:
                await self._start_over(timeout_ms)
                continue
            _ROUND_TRIPS.inc()
            if identity is None or (generation or b"") != identity.generation:
                await self._start_over(timeout_ms)
                continue
            if identity == self._identity:
                # Two flushes may be in flight: only what goes on from what is known now is new.
                self.names.learn(added[len(self.names) - known :])
                return list(records)
        raise StoreUnavailableError("online store: wanted one that stays the same for a read; it kept changing")

    async def _start_over(self, timeout_ms: float) -> None:
        """The store is not the one that was read from: forget what is known of it."""
        found = await self._store.look(timeout_ms=timeout_ms)
        # Another flush may have found it first; what it has learnt since must stay.
        if found != self._identity:
            if self._identity is not None:
                _CHANGES.inc()
            self._identity = found
            self.names.forget()
