"""Connections to every node of a Valkey cluster, used as one: each command goes to the node that holds its keys."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import sha1
from typing import NamedTuple
from urllib.parse import urlsplit

import libvalkey
from prometheus_client import Counter

from feature_store.cluster_commands import Placed, merged, placed
from feature_store.cluster_slots import SHARED_TAG, SLOTS, slot_of
from feature_store.errors import StoreChangedError, StoreUnavailableError
from feature_store.valkey_connection import Command, Reply, Send, ValkeyConnection

SCHEME = "valkey-cluster"
_TRIES = 3
_MOVED = Counter("afterclick_feature_store_cluster_moved_total", "Commands sent to a node that no longer had the slot")

Address = tuple[str, int]


class Runs(NamedTuple):
    """Which run of every node was talked to; `run_id` stands for all of them and changes when one does."""

    run_id: str
    by_node: Mapping[Address, str]


_NO_RUNS = Runs("", {})


class ClusterConnection:
    """As `ValkeyConnection`, over the nodes of a cluster; callers name keys as on one server.

    Args:
        url: `valkey-cluster://[user:password@]host:port[,host:port ...]`, any nodes of it.
        connect_ms_max, inflight_max, pause_ms, greet: as for `ValkeyConnection`, for each node.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_ms_max: int,
        inflight_max: int,
        pause_ms: int,
        greet: Callable[[Send], Awaitable[str]],
    ) -> None:
        self._credentials, self._seeds = _parsed(url)
        self._limits = {"connect_ms_max": connect_ms_max, "inflight_max": inflight_max, "pause_ms": pause_ms}
        self._greet = greet
        self._nodes: dict[Address, ValkeyConnection] = {}
        self._node_of_slot: list[Address] = []
        self._runs = _NO_RUNS
        self._refreshing: asyncio.Task[None] | None = None
        self.partitions = 0

    def spread(self, partitions: int) -> None:
        """Say how many partitions the records are spread over; before that no record's place is known."""
        self.partitions = partitions

    async def send(self, commands: Sequence[Command], *, timeout_ms: float, run_id: str | None = None) -> list[Reply]:
        """As `ValkeyConnection.send`; what concerns several nodes goes to all of them at once.

        Raises:
            StoreChangedError: a node was started anew since `run_id`, or another one holds its slots.
            StoreUnavailableError: as there; some nodes may have done their commands.
        """
        runs = self._runs
        if run_id is not None and run_id != runs.run_id:
            raise StoreChangedError("online store: a node of the cluster was started anew; read it again")
        parts = [placed(command, self.partitions) for command in commands]
        flat = [part for of_command in parts for part in of_command]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                replies = await self._send_placed(flat, timeout_ms, None if run_id is None else runs.by_node)
        except TimeoutError as error:
            raise self._late(timeout_ms) from error
        found = iter(replies)
        return [
            merged(command, of_command, [next(found) for _ in of_command])
            for command, of_command in zip(commands, parts, strict=True)
        ]

    async def send_everywhere(self, command: Command, *, timeout_ms: float) -> dict[Address, Reply]:
        """The reply of every node that holds slots to a command without keys.

        Raises:
            StoreUnavailableError: one of them does not answer.
        """
        await self._know_nodes(timeout_ms)
        masters = sorted(set(self._node_of_slot))
        replies = await asyncio.gather(
            *(self._node(address).send([command], timeout_ms=timeout_ms) for address in masters)
        )
        return {address: reply for address, [reply] in zip(masters, replies, strict=True)}

    async def send_to(self, address: Address, command: Command, *, timeout_ms: float) -> Reply:
        """The reply of one node."""
        [reply] = await self._node(address).send([command], timeout_ms=timeout_ms)
        return reply

    async def run_id_now(self, *, timeout_ms: float) -> str:
        """40 hex digits that stand for the runs of all nodes that hold slots; another one after any of them restarts.

        Raises:
            StoreUnavailableError: one of them does not answer.
        """
        await self._know_nodes(timeout_ms, afresh=True)
        masters = sorted(set(self._node_of_slot))
        found = await asyncio.gather(*(self._node(a).run_id_now(timeout_ms=timeout_ms) for a in masters))
        name = sha1(" ".join(sorted(found)).encode(), usedforsecurity=False).hexdigest()
        self._runs = Runs(name, dict(zip(masters, found, strict=True)))
        return name

    def shared_run_id(self) -> str:
        """The run id of the node that holds what belongs to no partition; after `run_id_now`."""
        return self._runs.by_node.get(self._node_of_slot[slot_of(SHARED_TAG)], "")

    async def close(self) -> None:
        """Let go of every connection."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _send_placed(
        self, parts: Sequence[Placed], timeout_ms: float, run_of: Mapping[Address, str] | None
    ) -> list[Reply]:
        await self._know_nodes(timeout_ms)
        replies: list[Reply] = [None] * len(parts)
        left = list(range(len(parts)))
        for _ in range(_TRIES):
            by_node: dict[Address, list[int]] = {}
            for i in left:
                by_node.setdefault(self._node_of_slot[parts[i].slot], []).append(i)
            sends = [
                self._send_to_node(address, [parts[i].command for i in of_node], timeout_ms, run_of)
                for address, of_node in by_node.items()
            ]
            answers = await asyncio.gather(*sends) if len(sends) > 1 else [await sends[0]] if sends else []
            for of_node, of_replies in zip(by_node.values(), answers, strict=True):
                for i, reply in zip(of_node, of_replies, strict=True):
                    replies[i] = reply
            left = [i for i in left if _is_moved(replies[i])]
            if not left:
                return replies
            _MOVED.inc(len(left))
            await self._know_nodes(timeout_ms, afresh=True)
        raise StoreUnavailableError("online store: wanted slots that stay with a node; they kept moving; try again")

    async def _send_to_node(
        self, address: Address, commands: Sequence[Command], timeout_ms: float, run_of: Mapping[Address, str] | None
    ) -> list[Reply]:
        if run_of is not None and address not in run_of:
            raise StoreChangedError(f"online store: {_named(address)} is new to the cluster's slots; read it again")
        try:
            replies = await self._node(address).send(
                commands, timeout_ms=timeout_ms, run_id=None if run_of is None else run_of[address]
            )
        except StoreChangedError:
            self._runs = _NO_RUNS
            raise
        except StoreUnavailableError:
            # It may have been replaced: the next command asks the others who has its slots.
            self._node_of_slot = []
            raise
        for i, reply in enumerate(replies):
            if (target := _asked(reply)) is not None:
                _, replies[i] = await self._node(target).send([("ASKING",), commands[i]], timeout_ms=timeout_ms)
        return replies

    def _node(self, address: Address) -> ValkeyConnection:
        node = self._nodes.get(address)
        if node is None:
            url = f"valkey://{self._credentials}{address[0]}:{address[1]}"
            node = self._nodes[address] = ValkeyConnection(url, greet=self._greet, **self._limits)
        return node

    async def _know_nodes(self, timeout_ms: float, *, afresh: bool = False) -> None:
        """Learn which node holds which slots, once for all who wait for it."""
        if self._node_of_slot and not afresh:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh(timeout_ms))
            self._refreshing.add_done_callback(self._refreshed)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await asyncio.shield(self._refreshing)
        except TimeoutError as error:
            raise self._late(timeout_ms) from error

    def _refreshed(self, task: "asyncio.Task[None]") -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be waiting any more

    async def _refresh(self, timeout_ms: float) -> None:
        reasons = []
        for address in dict.fromkeys([*self._nodes, *self._seeds]):
            try:
                [found] = await self._node(address).send([("CLUSTER", "SLOTS")], timeout_ms=timeout_ms / 2)
            except StoreUnavailableError as error:
                reasons.append(str(error))
                continue
            if isinstance(found, libvalkey.ReplyError):
                reasons.append(f"{_named(address)}: {found}; is it a node of a cluster (cluster-enabled yes)?")
                continue
            node_of_slot = _node_of_slot(found, asked=address)
            if node_of_slot is None:
                reasons.append(f"{_named(address)}: not all {SLOTS} slots have a node")
                continue
            self._node_of_slot = node_of_slot
            await self._drop_nodes_but({*node_of_slot, *self._seeds})
            return
        raise StoreUnavailableError(
            f"online store: wanted a node of the cluster that knows all slots; {'; '.join(reasons)}"
        )

    async def _drop_nodes_but(self, kept: Iterable[Address]) -> None:
        for address in [address for address in self._nodes if address not in set(kept)]:
            await self._nodes.pop(address).close()

    def _late(self, timeout_ms: float) -> StoreUnavailableError:
        seeds = ", ".join(_named(address) for address in self._seeds)
        return StoreUnavailableError(
            f"online store: wanted an answer of the cluster at {seeds} within {timeout_ms:.0f} ms; none came"
        )


def _parsed(url: str) -> tuple[str, list[Address]]:
    """The credentials as they stand before a host ("" or "user:password@"), and the nodes named."""
    credentials, _, hosts = url.removeprefix(f"{SCHEME}://").strip("/").rpartition("@")
    seeds = []
    for host in hosts.split(","):
        parts = urlsplit(f"//{host}")
        if not parts.hostname:
            raise StoreUnavailableError(f"online store: wanted {SCHEME}://host:port[,host:port ...]; got {host!r}")
        seeds.append((parts.hostname, parts.port or 6379))
    return f"{credentials}@" if credentials else "", seeds


def _node_of_slot(found: Sequence[Reply], *, asked: Address) -> list[Address] | None:
    """The master of every slot, or None when some have none; a node without a name is the one that was asked."""
    nodes: list[Address | None] = [None] * SLOTS
    for first, last, master, *_ in found:
        host = (master[0] or b"").decode() or asked[0]
        nodes[first : last + 1] = [(host, int(master[1]))] * (last + 1 - first)
    known = [node for node in nodes if node is not None]
    return known if len(known) == SLOTS else None


def _is_moved(reply: Reply) -> bool:
    return isinstance(reply, libvalkey.ReplyError) and str(reply).startswith(("MOVED ", "READONLY ", "TRYAGAIN "))


def _asked(reply: Reply) -> Address | None:
    """The node that a slot is moving to, when this one says so."""
    if not (isinstance(reply, libvalkey.ReplyError) and str(reply).startswith("ASK ")):
        return None
    host, _, port = str(reply).split()[2].rpartition(":")
    return host, int(port)


def _named(address: Address) -> str:
    return f"{SCHEME}://{address[0]}:{address[1]}"
