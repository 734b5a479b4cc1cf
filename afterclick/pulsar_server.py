"""A real Apache Pulsar on this machine: a standalone broker on the loopback interface, started, watched and stopped."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec
import psutil

from afterclick.errors import PartFailedError
from afterclick.ports import free_port
from afterclick.pulsar_download import pulsar_home

BROKER_PORT = 6650
# Not Pulsar's usual 8080: the API listens there.
ADMIN_PORT = 18080

# A restart on old data took up to 28 s in trials, on a busy machine more.
_READY_S = 180.0
_STOP_S = 30.0
_POLL_S = 0.2
_LOG_LINES = 20

_CONF: Mapping[str, str] = {
    "bindAddress": "127.0.0.1",
    "advertisedAddress": "127.0.0.1",
    # Without it the bookie listens on every interface.
    "listeningInterface": "lo",
    "clusterName": "standalone",
    "webSocketServiceEnabled": "false",
    # With the defaults, a kill -9 of the broker redelivered 2,950 of 3,000 acknowledged messages.
    "managedLedgerDefaultMarkDeleteRateLimit": "100",
    "managedLedgerCursorPositionFlushSeconds": "1",
    # `answers` may have no reader for days.
    "brokerDeleteInactiveTopicsEnabled": "false",
    # A consumer that is stopped, not dead, is noticed by it: within two of these its partitions go to another.
    "keepAliveIntervalSeconds": "5",
    "delayedDeliveryTickTimeMillis": "100",
    "subscriptionExpirationTimeMinutes": "0",
    # By default a disk that is 95 % full, with whatever else lies on it, lets no topic and no subscription be made.
    "diskUsageThreshold": "0.99",
    "diskUsageWarnThreshold": "0.98",
    "diskUsageLwmThreshold": "0.98",
}
_EXTRA_OPTIONS = "-Dpulsar.allocator.exit_on_oom=true -Dio.netty.recycler.maxCapacityPerThread=4096"
_ENVIRONMENT: Mapping[str, str] = {
    # The default collector maps its heap several times and shows 1.8–2.8 GB; this one 350 MB.
    "PULSAR_GC": "-XX:+UseSerialGC",
    "PULSAR_MEM": "-Xms256m -Xmx512m -XX:MaxDirectMemorySize=512m",
}


class Running(msgspec.Struct, frozen=True):
    """What `pulsar.json` in the data folder says of a broker that was started."""

    pid: int
    broker_port: int
    admin_port: int


class PulsarServer:
    """One standalone broker. Started again on the same folder and ports, it goes on from there.

    Args:
        data_dir: its own folder; made if need be.
        broker_port, admin_port: 0 picks free ones, kept for this object's life.
        cache: where the distribution lies or is fetched to; None for `cache_dir()`.
        conf: further lines of the broker's configuration.
        quick_start: let Java's first compiler suffice: ready after 6 s instead of 12 and with half the CPU, slower at
            high rates; for tests and demonstrations.
    """

    def __init__(
        self,
        data_dir: Path,
        broker_port: int = 0,
        admin_port: int = 0,
        *,
        cache: Path | None = None,
        conf: Mapping[str, str] | None = None,
        quick_start: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.broker_port = broker_port or free_port()
        self.admin_port = admin_port or free_port()
        self._cache = cache
        self._conf = {**_CONF, **(conf or {})}
        self._java_options = _EXTRA_OPTIONS + (" -XX:TieredStopAtLevel=1" if quick_start else "")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin_url(self) -> str:
        """Of the admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def url(self) -> str:
        """For `open_bus`."""
        return f"pulsar://127.0.0.1:{self.broker_port}?admin={self.admin_url}"

    @property
    def log_path(self) -> Path:
        """Where the broker's output goes."""
        return self.data_dir / "pulsar.log"

    @property
    def pid(self) -> int | None:
        """The process id, None when it was not started or has ended."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, *, ready_within_s: float = _READY_S) -> "PulsarServer":
        """Start it, fetched the first time, and wait until it serves; returns itself.

        Raises:
            MissingProgramError: Java or Maven is missing.
            PartFailedError: it could not be fetched, ended, or did not serve in time.
        """
        home = pulsar_home(self._cache)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        configuration = self.data_dir / "standalone.conf"
        configuration.write_text(self.configuration((home / "conf" / "standalone.conf").read_text()))
        folders = [
            "--metadata-dir",
            str(self.data_dir / "metadata"),
            "--bookkeeper-dir",
            str(self.data_dir / "ledgers"),
        ]
        command = [str(home / "bin" / "pulsar"), "standalone", "-nss", "-nfw", "-a", "127.0.0.1"]
        with self.log_path.open("ab") as log:
            # The script ends in `exec`, so this is the Java process. A session of its own: we stop it in our order.
            self._process = subprocess.Popen(
                [*command, "--config", str(configuration), *folders],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    **_ENVIRONMENT,
                    "PULSAR_EXTRA_OPTS": self._java_options,
                    "PULSAR_LOG_DIR": str(self.data_dir),
                    "PULSAR_STANDALONE_CONF": str(configuration),
                },
            )
        self._wait_until_ready(time.monotonic() + ready_within_s)
        running = Running(self._process.pid, self.broker_port, self.admin_port)
        _state_path(self.data_dir).write_bytes(msgspec.json.encode(running))
        return self

    def stop(self, *, within_s: float = _STOP_S) -> None:
        """Ask it to end, and kill it when it does not. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ended()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ended()

    def _ended(self) -> None:
        self._process = None
        _state_path(self.data_dir).unlink(missing_ok=True)

    def configuration(self, template: str) -> str:
        """The distribution's `standalone.conf` with our lines in place of its own."""
        wanted = {**self._conf, "brokerServicePort": str(self.broker_port), "webServicePort": str(self.admin_port)}
        for name, setting in wanted.items():
            line = f"{name}={setting}"
            template, replaced = re.subn(rf"(?m)^{re.escape(name)}=.*$", line, template)
            template += "" if replaced else f"\n{line}\n"
        return template

    def _wait_until_ready(self, deadline_s: float) -> None:
        while time.monotonic() < deadline_s:
            if self.pid is None:
                raise PartFailedError(f"Pulsar ended while it started; {self.log_path} says:\n{self._tail()}")
            if healthy(self.admin_url):
                return
            time.sleep(_POLL_S)
        self.kill()
        raise PartFailedError(f"Pulsar did not serve in time and was stopped; {self.log_path} says:\n{self._tail()}")

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        return "(nothing)"


def healthy(admin_url: str) -> bool:
    """Does the broker there write and read a message? (Its own health check.)"""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{admin_url}/admin/v2/brokers/health", timeout=10.0).text == "ok"
    return False


def start_pulsar(
    data_dir: Path, broker_port: int = BROKER_PORT, admin_port: int = ADMIN_PORT, *, cache: Path | None = None
) -> PulsarServer:
    """Start a broker that outlives this process; returns when it serves.

    Raises:
        MissingProgramError: Java or Maven is missing.
        PartFailedError: one runs on this folder already, or it did not come up.
    """
    running = pulsar_status(data_dir)
    if running is not None:
        raise PartFailedError(
            f"a Pulsar runs on {data_dir} already (pid {running.pid}, port {running.broker_port}); stop it first: "
            "afterclick pulsar stop"
        )
    return PulsarServer(data_dir, broker_port, admin_port, cache=cache).start()


def stop_pulsar(data_dir: Path, *, within_s: float = _STOP_S) -> bool:
    """Stop the broker that `start_pulsar` started on this folder; False when none runs."""
    process = _process_on(data_dir)
    if process is None:
        return False
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(within_s)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    _state_path(data_dir).unlink(missing_ok=True)
    return True


def pulsar_status(data_dir: Path) -> Running | None:
    """The broker that runs on this folder, or None."""
    return _state(data_dir) if _process_on(data_dir) is not None else None


def _state_path(data_dir: Path) -> Path:
    return data_dir / "pulsar.json"


def _state(data_dir: Path) -> Running | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(_state_path(data_dir).read_bytes(), type=Running)
    return None


def _process_on(data_dir: Path) -> psutil.Process | None:
    """The process named in the folder, if it is still that one: pids are used again."""
    state = _state(data_dir)
    if state is None:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(state.pid)
        if process.status() != psutil.STATUS_ZOMBIE and any(
            str(data_dir.resolve()) in word for word in process.cmdline()
        ):
            return process
    return None
