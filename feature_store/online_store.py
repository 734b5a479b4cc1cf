"""The online store on Valkey: read many records at once, write each only if nobody else has since it was read."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import libvalkey

from feature_store import keys
from feature_store.errors import StoreChangedError, StoreMismatchError, StoreUnavailableError
from feature_store.record_header import REBUILD, guard_of
from feature_store.settings import StoreSettings
from feature_store.valkey_connection import Command, Reply, Send, ValkeyConnection

RUN_ID_BYTES = 40


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
    """One connection to the store, shared by everything in the process."""

    def __init__(self, url: str, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        self._connection = ValkeyConnection(
            url,
            connect_ms_max=self.settings.connect_ms_max,
            inflight_max=self.settings.inflight_commands_max,
            pause_ms=self.settings.reconnect_pause_ms,
            greet=_greet,
        )

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

    async def identify(self) -> StoreIdentity:
        """The store as it now is; an empty one is given a generation."""
        run_id = await self._connection.run_id_now(timeout_ms=self.settings.timeout_ms)
        made = secrets.token_hex(8)
        _, generation = await self.send([("SET", keys.GENERATION, made, "NX"), ("GET", keys.GENERATION)], run_id=run_id)
        return StoreIdentity(run_id, generation)

    async def look(self, *, timeout_ms: float) -> StoreIdentity:
        """The store as it now is, for those who only read: an empty one has the generation b""."""
        run_id = await self._connection.run_id_now(timeout_ms=timeout_ms)
        [generation] = await self.send([("GET", keys.GENERATION)], timeout_ms=timeout_ms, run_id=run_id)
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
        checkpoints = [keys.checkpoint_key(partition) for partition in sorted(set(partitions))]
        header = (identity.generation, identity.run_id, len(checkpoints), int(catching_up))
        size = self.settings.records_per_call_max
        commands: list[Command] = []
        for first in range(0, len(writes), size):
            part = writes[first : first + size]
            arguments: list[bytes | str | int] = [*header]
            for write in part:
                arguments += (guard_of(write.replaces), write.record, write.ttl_ms)
            key_count = 1 + len(checkpoints) + len(part)
            found = [write.key for write in part]
            commands.append(("FCALL", "afterclick_write", key_count, keys.GENERATION, *checkpoints, *found, *arguments))
        replies = await self.send(commands, run_id=identity.run_id) if commands else []
        return [i * size + place - 1 for i, reply in enumerate(replies) for place in reply]

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
        wanted = [keys.checkpoint_key(partition) for partition in accepted_at_ms]
        run_id = identity.run_id.encode()
        values = [run_id + at_ms.to_bytes(8, "big") for at_ms in accepted_at_ms.values()]
        named: Command = ("FCALL", "afterclick_checkpoint", 1 + len(wanted), keys.GENERATION, *wanted)
        await self.send([(*named, identity.generation, run_id, int(catching_up), *values)], run_id=identity.run_id)

    async def wipe(self) -> None:
        """Forget everything; whoever wrote before has to read again. Call it for a rebuild only."""
        await self.send([("FLUSHDB",)])


def _checkpoint(value: bytes) -> Checkpoint:
    return Checkpoint(value[:RUN_ID_BYTES].decode(), int.from_bytes(value[RUN_ID_BYTES:], "big"))


async def _greet(send: Send) -> str:
    """Load our functions and learn the server's run id, on every new connection."""
    library = files("feature_store").joinpath("online_store.lua").read_text()
    replies = await send([("INFO", "server"), ("FUNCTION", "LOAD", "REPLACE", library)])
    for reply in replies:
        if isinstance(reply, libvalkey.ReplyError):
            raise _translated(reply)
    lines = replies[0].decode().splitlines()
    return next(str(line.split(":", 1)[1]) for line in lines if line.startswith("run_id:"))


def _translated(reply: Exception) -> Exception:
    text = str(reply)
    if text.startswith(("CHANGED", "BEHIND")):
        return StoreChangedError(f"online store: {text.split(' ', 1)[1]}")
    return StoreUnavailableError(f"online store: wanted it to take the command; it answered: {text}")
