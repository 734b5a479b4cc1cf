"""Read records for many concurrent callers: those of one turn of the event loop share one MGET."""

import asyncio
from collections import deque
from collections.abc import Sequence

from prometheus_client import Counter

from feature_store import keys
from feature_store.errors import StoreChangedError, StoreUnavailableError
from feature_store.item_index import ItemNames
from feature_store.online_store import OnlineStore, StoreIdentity
from feature_store.valkey_connection import Command, Reply

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
        self._waiting: deque[_Waiting] = deque()
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
        # A bare timer: `asyncio.timeout` costs ten times as much, and this is done for every answer.
        timer = loop.call_later(deadline_ms / 1000, _expire, future, deadline_ms)
        try:
            return await future
        finally:
            timer.cancel()

    def _start_flush(self) -> None:
        size = self._store.settings.keys_per_read_max
        while self._waiting:
            batch: list[_Waiting] = []
            key_count = 0
            while self._waiting and (not batch or key_count + len(self._waiting[0][0]) <= size):
                batch.append(self._waiting.popleft())
                key_count += len(batch[-1][0])
            self._flush(batch, [key for keys_wanted, _, _ in batch for key in keys_wanted])

    def _flush(self, batch: list[_Waiting], wanted: list[bytes]) -> None:
        """Ask at once where that can be done, in a task where it has to be waited for."""
        identity, known = self._identity, len(self.names)
        posted = None if identity is None else self._store.post(_commands(wanted, known), run_id=identity.run_id)
        if posted is None or identity is None:
            self._flush_slowly(batch, wanted)
            return

        def arrived(replies: "asyncio.Future[list[Reply]]") -> None:
            records = (
                None if replies.cancelled() or replies.exception() else self._taken(replies.result(), identity, known)
            )
            if records is None:
                self._flush_slowly(batch, wanted)
            else:
                _give(batch, records)

        posted.add_done_callback(arrived)

    def _flush_slowly(self, batch: list[_Waiting], wanted: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._fetch_for(batch, wanted))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _fetch_for(self, batch: list[_Waiting], wanted: list[bytes]) -> None:
        try:
            _give(batch, await self._fetch(wanted, max(deadline_ms for _, deadline_ms, _ in batch)))
        except (StoreUnavailableError, StoreChangedError) as error:
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(StoreUnavailableError(str(error)))

    async def _fetch(self, wanted: list[bytes], timeout_ms: float) -> Records:
        for _ in range(_TRIES):
            known = len(self.names)
            identity = self._identity
            try:
                replies = await self._store.send(
                    _commands(wanted, known), timeout_ms=timeout_ms, run_id=identity.run_id if identity else None
                )
            except StoreChangedError:
                await self._start_over(timeout_ms)
                continue
            records = None if identity is None else self._taken(replies, identity, known)
            if records is not None:
                return records
            if identity is None or identity == self._identity:
                await self._start_over(timeout_ms)
        raise StoreUnavailableError("online store: wanted one that stays the same for a read; it kept changing")

    def _taken(self, replies: list[Reply], identity: StoreIdentity, known: int) -> Records | None:
        """The records in `replies` to what was asked under `identity` with `known` names; None if that is void now."""
        _ROUND_TRIPS.inc()
        found, added = replies
        if isinstance(found, Exception) or isinstance(added, Exception):
            return None
        if (found[0] or b"") != identity.generation or identity != self._identity:
            return None
        # Two flushes may be in flight: only what goes on from what is known now is new.
        if added:
            self.names.learn(added[len(self.names) - known :])
        return list(found[1:])

    async def _start_over(self, timeout_ms: float) -> None:
        """The store is not the one that was read from: forget what is known of it."""
        found = await self._store.look(timeout_ms=timeout_ms)
        # Another flush may have found it first; what it has learnt since must stay.
        if found != self._identity:
            if self._identity is not None:
                _CHANGES.inc()
            self._identity = found
            self.names.forget()


def _commands(wanted: list[bytes], known: int) -> list[Command]:
    """The records and the generation they belong to, and the item ids given since index `known`."""
    return [("MGET", keys.GENERATION, *wanted), ("LRANGE", keys.ITEM_IDS, known, -1)]


def _give(batch: list[_Waiting], records: Records) -> None:
    at = 0
    for keys_wanted, _, future in batch:
        if not future.done():
            future.set_result(records[at : at + len(keys_wanted)])
        at += len(keys_wanted)


def _expire(future: "asyncio.Future[Records]", deadline_ms: float) -> None:
    if not future.done():
        future.set_exception(
            StoreUnavailableError(
                f"online store: wanted records within {deadline_ms:.1f} ms; none came; answer without them"
            )
        )
