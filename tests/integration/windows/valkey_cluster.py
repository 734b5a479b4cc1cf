"""A real Valkey cluster on the loopback interface: three nodes with slots, each with a replica."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import libvalkey

from afterclick.ports import free_port
from afterclick.valkey_server import ValkeyServer

_SLOTS = 16_384
_WAIT_S = 30.0


class ValkeyCluster:
    """Nodes that tests may kill and start again; `.url` names all masters."""

    def __init__(self, folder: Path, *, masters: int, replicas: bool) -> None:
        count = 2 * masters if replicas else masters
        self.nodes = [
            ValkeyServer(folder / f"node-{i}", free_port(), cluster_bus_port=free_port()) for i in range(count)
        ]
        self.masters = masters
        for node in self.nodes:
            node.start()
        self._join()

    @property
    def url(self) -> str:
        return "valkey-cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[: self.masters])

    def ask(self, node: ValkeyServer, *command: str) -> object:
        """One command over a connection of its own."""
        with socket.create_connection(("127.0.0.1", node.port), timeout=5) as connection:
            connection.sendall(libvalkey.pack_command(command))
            reader = libvalkey.Reader(encoding="utf-8")
            while (reply := reader.gets()) is False:
                reader.feed(connection.recv(65_536))
        if isinstance(reply, libvalkey.ReplyError):
            raise AssertionError(f"{command}: {reply}")
        return reply

    def wait_until_whole(self) -> None:
        """Every living node sees every slot served."""
        living = [node for node in self.nodes if node.pid is not None]
        self._eventually(lambda: all("cluster_state:ok" in str(self.ask(n, "CLUSTER", "INFO")) for n in living))

    def wait_for_takeover(self, killed: ValkeyServer) -> None:
        """Another node serves the slots of `killed`."""
        other = next(node for node in self.nodes if node.pid is not None)

        def taken_over() -> bool:
            served = self.ask(other, "CLUSTER", "SLOTS")
            assert isinstance(served, list)
            return killed.port not in {slot_range[2][1] for slot_range in served}

        self._eventually(taken_over)
        self.wait_until_whole()

    def node_of_slot(self, slot: int) -> ValkeyServer:
        """The node that serves `slot` now."""
        served = self.ask(next(node for node in self.nodes if node.pid is not None), "CLUSTER", "SLOTS")
        assert isinstance(served, list)
        port = next(found[2][1] for found in served if found[0] <= slot <= found[1])
        return next(node for node in self.nodes if node.port == port)

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def _join(self) -> None:
        first, masters = self.nodes[0], self.nodes[: self.masters]
        for i, node in enumerate(masters):
            start, end = i * _SLOTS // self.masters, (i + 1) * _SLOTS // self.masters - 1
            self.ask(node, "CLUSTER", "ADDSLOTSRANGE", str(start), str(end))
        for node in self.nodes[1:]:
            bus_port = node.argv[node.argv.index("--cluster-port") + 1]
            self.ask(first, "CLUSTER", "MEET", "127.0.0.1", str(node.port), bus_port)
        self._eventually(lambda: all(self._sees(node) == len(self.nodes) for node in self.nodes))
        for master, replica in zip(masters, self.nodes[self.masters :], strict=False):
            self.ask(replica, "CLUSTER", "REPLICATE", str(self.ask(master, "CLUSTER", "MYID")))
        self.wait_until_whole()
        linked = "master_link_status:up"
        self._eventually(lambda: all(linked in str(self.ask(n, "INFO")) for n in self.nodes[self.masters :]))

    def _sees(self, node: ValkeyServer) -> int:
        lines = str(self.ask(node, "CLUSTER", "NODES")).splitlines()
        return sum("connected" in line and "handshake" not in line for line in lines)

    def _eventually(self, reached: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _WAIT_S
        while not reached():
            assert time.monotonic() < deadline_s, "the cluster did not come to be in time"
            time.sleep(0.05)


@contextmanager
def valkey_cluster(folder: Path, *, masters: int = 3, replicas: bool = False) -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(folder, masters=masters, replicas=replicas)
    try:
        yield cluster
    finally:
        cluster.stop()
