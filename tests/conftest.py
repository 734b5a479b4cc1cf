"""Servers for tests, real ones, each on a free port of the loopback interface and a folder of its own.

Nothing is skipped: where Java, Maven or the Valkey binary is missing, the tests that need it fail and name the command
that installs it.

Fixtures:
    valkey_server: a fresh Valkey with `appendfsync everysec`, as the online store's; `.url`, `.kill()`, `.start()`.
    embedded_bus_server: the same with `appendfsync always`, as the embedded bus's.
    pulsar_broker: the session's one Apache Pulsar; `.url`, `.admin_url`, `.kill()`, `.start()`. Leave it running.
    pulsar_bus_url: a namespace of its own on it, as a bus URL.
    object_storage: the session's one S3-compatible server; `.url`, `.options`.
    broker: `Broker` of each adapter in turn (parameters "embedded", "pulsar"): `.url`, `.kill()`, `.restart()`.
    bus_url: its URL.
    bus: an open `Bus` on it, with the short deadlines of `TEST_BUS_SETTINGS`; no topic is made yet.
"""

import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from afterclick.ports import free_port
from afterclick.pulsar_server import PulsarServer
from afterclick.valkey_server import ValkeyServer
from ingest.bus import Bus, open_bus
from ingest.bus.settings import BusSettings
from tests.object_storage import ObjectStorage

TEST_BUS_SETTINGS = BusSettings(send_deadline_ms=3_000, lease_ms=1_500)

# What takes a minute by default takes seconds here: noticing a stopped consumer, checking a quota.
_PULSAR_CONF = {
    "keepAliveIntervalSeconds": "3",
    "backlogQuotaCheckIntervalInSeconds": "1",
    "activeConsumerFailoverDelayTimeMillis": "200",
}


def pytest_configure() -> None:
    """A session that is told to end (SIGTERM) tears its fixtures down, so that no broker outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@dataclass(frozen=True)
class Broker:
    """A broker that a test may crash, provided that it is restarted."""

    adapter: str
    server: ValkeyServer | PulsarServer
    url: str

    def kill(self) -> None:
        """SIGKILL."""
        self.server.kill()

    def restart(self) -> None:
        """On the same data and ports; returns when it answers."""
        self.server.start()


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A store's Valkey, empty."""
    server = ValkeyServer(tmp_path / "valkey", free_port(), "everysec")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def embedded_bus_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A bus's Valkey, empty."""
    server = ValkeyServer(tmp_path / "bus", free_port(), "always")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pulsar_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """The session's Pulsar."""
    server = PulsarServer(tmp_path_factory.mktemp("pulsar"), conf=_PULSAR_CONF, quick_start=True)
    server.start()
    yield server
    # Nothing in it is kept: no need to wait for an orderly end.
    server.kill()


@pytest.fixture(scope="session")
def object_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """The session's S3."""
    server = ObjectStorage(tmp_path_factory.mktemp("object-storage"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def pulsar_bus_url(pulsar_broker: PulsarServer) -> str:
    """A namespace of its own."""
    return namespace_url(pulsar_broker)


@pytest.fixture(params=["embedded", pytest.param("pulsar", marks=pytest.mark.pulsar)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each adapter's broker in turn, its data the test's own."""
    if request.param == "pulsar":
        server: PulsarServer = request.getfixturevalue("pulsar_broker")
        return Broker("pulsar", server, namespace_url(server))
    valkey: ValkeyServer = request.getfixturevalue("embedded_bus_server")
    return Broker("embedded", valkey, valkey.url)


@pytest.fixture
def bus_url(broker: Broker) -> str:
    """Each adapter's URL in turn."""
    return broker.url


@pytest.fixture
async def bus(bus_url: str) -> AsyncIterator[Bus]:
    """An open bus on each adapter in turn."""
    opened = await open_bus(bus_url, TEST_BUS_SETTINGS)
    yield opened
    await opened.close()


def namespace_url(server: PulsarServer) -> str:
    """A bus URL with a namespace that nobody uses yet."""
    base, admin = server.url.split("?")
    return f"{base}/public/test-{secrets.token_hex(6)}?{admin}"
