"""The online store on Valkey: read many records at once, write each only if nobody else has since it was read."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple, cast

import libvalkey

from feature_store import keys
from feature_store.cluster_connection import SCHEME, ClusterConnection
from feature_store.cluster_slots import partition_tags, record_partition
from feature_store.errors import StoreChangedError, StoreMismatchError, StoreUnavailableError
from feature_store.record_header import REBUILD, guard_of
from feature_store.settings import StoreSettings
from feature_store.valkey_connection import Argument, Command, Reply, Send, ValkeyConnection

RUN_ID_BYTES = 40
_SCAN_COUNT = 1_000


class StoreIdentity(NamedTuple):
    """Which run of which filling of the store was read; what is cached under one is void under another."""

    run_id: str
    generation: bytes


class RecordWrite(NamedTuple):
    """One record to write, if the stored one is still `replaces`."""

    key: bytes
    replaces: bytes | None
    record: bytes
    ttl_ms: int


class Checkpoint(NamedTuple):
    """What was accepted up to `accepted_at_ms` was written under the run `run_id`; a later crash may have lost it."""

    run_id: str
    accepted_at_ms: int


class OnlineStore:
    """The connection to the store, shared by everything in the process.

    Args:
        url: `valkey://[user:password@]host:port`, `unix:///path`, or `valkey-cluster://host:port[,host:port ...]`.
    """

    def __init__(self, url: str, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        limits: dict[str, Any] = {
            "connect_ms_max": self.settings.connect_ms_max,
            "inflight_max": self.settings.inflight_commands_max,
            "pause_ms": self.settings.reconnect_pause_ms,
            "greet": _greet,
        }
        self._cluster: ClusterConnection | None = None
        self._connection: ClusterConnection | ValkeyConnection
        if url.startswith(f"{SCHEME}://"):
            self._connection = self._cluster = ClusterConnection(url, **limits)
        else:
            self._connection = ValkeyConnection(url, **limits)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def send(
        self, commands: Sequence[Command], *, timeout_ms: float | None = None, run_id: str | None = None
    ) -> list[Reply]:
        """The replies to any commands, in one round trip.

        Raises:
            StoreUnavailableError: no answer in time, or the store refused a command (full, loading).
            StoreChangedError: another run than `run_id`, or the store was wiped or rebuilt.
        """
        timeout_ms = self.settings.timeout_ms if timeout_ms is None else timeout_ms
        replies = await self._connection.send(commands, timeout_ms=timeout_ms, run_id=run_id)
        for reply in replies:
            if isinstance(reply, libvalkey.ReplyError):
                raise _translated(reply)
        return replies

    def post(self, commands: Sequence[Command], *, run_id: str | None) -> "asyncio.Future[list[Reply]] | None":
        """As `send` without a deadline and a task: the replies to come, error replies among them untranslated.

        None when that cannot be had at once: not connected, too much in flight, changed, or a cluster; then `send`.
        """
        if isinstance(self._connection, ClusterConnection):
            return None
        return self._connection.post(commands, run_id=run_id)

    async def identify(self) -> StoreIdentity:
        """The store as it now is; an empty one is given a generation."""
        run_id = await self._connection.run_id_now(timeout_ms=self.settings.timeout_ms)
        if self._cluster is not None:
            [found] = await self.send([("GET", keys.GENERATION)], run_id=run_id)
            if found is None:
                # The node with the item index begins anew: records on other nodes name items by numbers that are gone.
                await self.wipe()
        made = secrets.token_hex(8)
        _, generation = await self.send([("SET", keys.GENERATION, made, "NX"), ("GET", keys.GENERATION)], run_id=run_id)
        return StoreIdentity(run_id, generation)

    async def look(self, *, timeout_ms: float) -> StoreIdentity:
        """The store as it now is, for those who only read: an empty one has the generation b""."""
        run_id = await self._connection.run_id_now(timeout_ms=timeout_ms)
        [generation, partitions] = await self.send(
            [("GET", keys.GENERATION), ("HGET", keys.META, "partitions")], timeout_ms=timeout_ms, run_id=run_id
        )
        if self._cluster is not None:
            self._cluster.spread(int(partitions or 0))
            if not partitions:
                return StoreIdentity(run_id, b"")
        return StoreIdentity(run_id, generation or b"")

    async def claim(self, *, log_id: int, partitions: int) -> None:
        """Note, or check, which log the records belong to.

        Raises:
            StoreMismatchError: they belong to another one.
        """
        await self.send([("HSETNX", keys.META, "log_id", log_id), ("HSETNX", keys.META, "partitions", partitions)])
        found = await self.meta()
        if found != (log_id, partitions):
            raise StoreMismatchError(
                f"online store: wanted the records of log {log_id:016x} with {partitions} partitions; got those of log "
                f"{found[0]:016x} with {found[1]}; {REBUILD}, or point `store` at the right one"
            )
        if self._cluster is not None:
            self._cluster.spread(partitions)
            await self._copy_generation(self._cluster, partitions)

    async def meta(self) -> tuple[int, int]:
        """Log id and number of partitions of the records; (0, 0) while no worker has been here."""
        [found] = await self.send([("HMGET", keys.META, "log_id", "partitions")])
        return int(found[0] or 0), int(found[1] or 0)

    async def read(self, wanted: Sequence[bytes], *, run_id: str | None = None) -> list[bytes | None]:
        """The values of keys, in order; None where there is none."""
        size = self.settings.keys_per_read_max
        commands: list[Command] = [("MGET", *wanted[i : i + size]) for i in range(0, len(wanted), size)]
        replies = await self.send(commands, run_id=run_id) if commands else []
        return [value for reply in replies for value in reply]

    async def read_with_ids(
        self, wanted: Sequence[bytes], *, known: int, run_id: str
    ) -> tuple[list[bytes | None], list[bytes]]:
        """As `read`, and the item ids from index `known` on: every index in the records is below their end."""
        size = self.settings.keys_per_read_max
        commands: list[Command] = [("MGET", *wanted[i : i + size]) for i in range(0, len(wanted), size)]
        *replies, added = await self.send([*commands, ("LRANGE", keys.ITEM_IDS, known, -1)], run_id=run_id)
        return [value for reply in replies for value in reply], added

    async def write(
        self, writes: Sequence[RecordWrite], *, partitions: Iterable[int], identity: StoreIdentity, catching_up: bool
    ) -> list[int]:
        """Write each record that nobody else has written since it was read; returns the places of those that failed.

        Raises:
            StoreChangedError: the store is another one than `identity`, or one of `partitions` must be read again
                first (never with `catching_up`).
        """
        calls = self._calls(writes, sorted(set(partitions)))
        commands: list[Command] = []
        for call in calls:
            checkpoints = [keys.checkpoint_key(partition) for partition in call.partitions]
            arguments: list[Argument] = [identity.generation, identity.run_id, len(checkpoints), int(catching_up)]
            for place in call.places:
                write = writes[place]
                arguments += (guard_of(write.replaces), write.record, write.ttl_ms)
            found = [keys.GENERATION, *checkpoints, *(writes[place].key for place in call.places)]
            commands.append(("FCALL", "afterclick_write", len(found), *found, *arguments))
        replies = await self.send(commands, run_id=identity.run_id) if commands else []
        return sorted(call.places[place - 1] for call, failed in zip(calls, replies, strict=True) for place in failed)

    async def intern(
        self, item_ids: Sequence[str], *, known: int, identity: StoreIdentity
    ) -> tuple[list[int], list[bytes]]:
        """The items' indexes, given now where they have none, and the ids that the store has from index `known` on."""
        call = ("FCALL", "afterclick_intern", 3, keys.ITEM_IDS, keys.ITEM_INDEX, keys.GENERATION)
        indexes, ids = await self.send(
            [
                (*call, identity.generation, self.settings.items_max, *item_ids),
                ("LRANGE", keys.ITEM_IDS, known, -1),
            ],
            run_id=identity.run_id,
        )
        return indexes, ids

    async def checkpoints(self, partitions: Sequence[int]) -> list[Checkpoint | None]:
        """How far each partition is surely in the store; None where nothing of it is."""
        found = await self.read([keys.checkpoint_key(partition) for partition in partitions])
        return [None if value is None else _checkpoint(value) for value in found]

    async def write_checkpoints(
        self, accepted_at_ms: Mapping[int, int], *, identity: StoreIdentity, catching_up: bool
    ) -> None:
        """Note that what was accepted up to these times, by partition, is written. After the writes, never before.

        Raises:
            StoreChangedError: as `write`.
        """
        run_id = identity.run_id.encode()
        values = {partition: run_id + at_ms.to_bytes(8, "big") for partition, at_ms in accepted_at_ms.items()}
        commands: list[Command] = []
        for group in [[p] for p in values] if self._cluster is not None else [list(values)]:
            wanted = [keys.GENERATION, *(keys.checkpoint_key(partition) for partition in group)]
            arguments: list[Argument] = [identity.generation, run_id, int(catching_up), *(values[p] for p in group)]
            commands.append(("FCALL", "afterclick_checkpoint", len(wanted), *wanted, *arguments))
        await self.send(commands, run_id=identity.run_id)

    async def restore_ids(self, ids: Mapping[int, str], *, identity: StoreIdentity) -> None:
        """Give a cluster back the item ids, by index, that the node with the index may have lost when it restarted.

        The first to call this after a restart also leaves `item_index_gap` numbers out, so that a number that only a
        lost id had is never given to another item while records on other nodes still hold it. On one server, records
        and index are lost together, and there is nothing to do.

        Raises:
            StoreUnavailableError, StoreChangedError: nothing is certain; call it again.
        """
        if self._cluster is None:
            return
        known = sorted(ids.items())
        size = self.settings.records_per_call_max
        wanted = (keys.ITEM_IDS, keys.ITEM_INDEX, keys.ITEM_RUN, keys.GENERATION)
        arguments = (identity.generation, self._cluster.shared_run_id(), self.settings.item_index_gap)
        for first in range(0, max(len(known), 1), size):
            last = int(first + size >= len(known))
            flat = [value for pair in known[first : first + size] for value in pair]
            call: Command = ("FCALL", "afterclick_restore_ids", len(wanted), *wanted, *arguments, last, *flat)
            await self.send([call], run_id=identity.run_id)

    async def scan(self, pattern: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        """Every record whose key matches `pattern`, each once. It reads everything: for audits, not for serving.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        seen: set[bytes] = set()
        async for found in self._scanned(pattern):
            fresh = [key for key in found if key not in seen]
            seen.update(fresh)
            for key, record in zip(fresh, await self.read(fresh), strict=True):
                if record is not None:
                    yield key, record

    async def wipe(self) -> None:
        """Forget everything; whoever wrote before has to read again. Call it for a rebuild only."""
        await self.ask_every_node("FLUSHDB")

    async def ask_every_node(self, *command: str) -> list[Reply]:
        """What each node (of one server: the one) answers to a command without keys.

        Raises:
            StoreUnavailableError: one of them does not answer, or refuses.
        """
        if self._cluster is None:
            return await self.send([command])
        replies = list((await self._cluster.send_everywhere(command, timeout_ms=self.settings.timeout_ms)).values())
        for reply in replies:
            if isinstance(reply, libvalkey.ReplyError):
                raise _translated(reply)
        return replies

    def _calls(self, writes: Sequence[RecordWrite], partitions: Sequence[int]) -> list["_Call"]:
        """Calls of bounded size; on a cluster each of one partition, whose records lie in one slot."""
        size = self.settings.records_per_call_max
        if self._cluster is None:
            return [
                _Call(partitions, range(first, min(first + size, len(writes)))) for first in range(0, len(writes), size)
            ]
        partition_of = [record_partition(write.key, self._cluster.partitions) for write in writes]
        calls = []
        in_order = sorted(range(len(writes)), key=partition_of.__getitem__)
        for partition, group in groupby(in_order, key=partition_of.__getitem__):
            places = list(group)
            calls += [_Call([partition], places[first : first + size]) for first in range(0, len(places), size)]
        return calls

    async def _copy_generation(self, cluster: ClusterConnection, partitions: int) -> None:
        """Put the generation beside the records of each partition, where a write can check it.

        Raises:
            StoreMismatchError: a partition's records are of another filling.
        """
        [generation] = await self.send([("GET", keys.GENERATION)])
        copies = [keys.generation_key(partition) for partition in range(partitions)]
        await self.send([("SET", copy, generation or b"", "NX") for copy in copies])
        if set(await self.read(copies)) != {generation}:
            raise StoreMismatchError(
                f"online store: wanted every node of the cluster to hold one filling; got several; {REBUILD}"
            )

    async def _scanned(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        """Keys that match, as the store names them on one server; some may come twice."""
        cursor: Any = b"0"
        if self._cluster is None:
            while True:
                [[cursor, found]] = await self.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
                yield found
                if cursor == b"0":
                    return
        prefixes = tuple(partition_tags((await self.meta())[1]))
        limit_ms = self.settings.timeout_ms
        for address in await self._cluster.send_everywhere(("PING",), timeout_ms=limit_ms):
            while True:
                scan: Command = ("SCAN", cursor, "MATCH", b"{*}" + pattern, "COUNT", _SCAN_COUNT)
                reply = await self._cluster.send_to(address, scan, timeout_ms=limit_ms)
                if isinstance(reply, libvalkey.ReplyError):
                    raise _translated(reply)
                cursor, found = cast("tuple[bytes, list[bytes]]", reply)
                yield [key[key.index(b"}") + 1 :] for key in found if key.startswith(prefixes)]
                if cursor == b"0":
                    break


class _Call(NamedTuple):
    """One call of the write function: the partitions that must not be behind, and which of the writes."""

    partitions: Sequence[int]
    places: Sequence[int]


def _checkpoint(value: bytes) -> Checkpoint:
    return Checkpoint(value[:RUN_ID_BYTES].decode(), int.from_bytes(value[RUN_ID_BYTES:], "big"))


async def _greet(send: Send) -> str:
    """Load our functions and learn the server's run id, on every new connection."""
    library = files("feature_store").joinpath("online_store.lua").read_text()
    replies = await send([("INFO", "server"), ("FUNCTION", "LOAD", "REPLACE", library)])
    for reply in replies:
        # A replica has the functions of its master, and is asked only who that is.
        if isinstance(reply, libvalkey.ReplyError) and not str(reply).startswith("READONLY"):
            raise _translated(reply)
    lines = replies[0].decode().splitlines()
    return next(str(line.split(":", 1)[1]) for line in lines if line.startswith("run_id:"))


def _translated(reply: Exception) -> Exception:
    text = str(reply)
    if text.startswith(("CHANGED", "BEHIND")):
        return StoreChangedError(f"online store: {text.split(' ', 1)[1]}")
    return StoreUnavailableError(f"online store: wanted it to take the command; it answered: {text}")
