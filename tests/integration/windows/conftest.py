"""A store and a bus for each test; what a bus promises is tried on the embedded one and on a real Apache Pulsar."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from afterclick.pulsar_server import PulsarServer
from afterclick.valkey_server import ValkeyServer
from feature_store.warm_up import compile_kernels
from tests.integration.windows.windows_tools import System, running


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    compile_kernels()


@pytest.fixture(scope="session")
def pulsar_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    server = PulsarServer(tmp_path_factory.mktemp("pulsar"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["embedded", pytest.param("pulsar", marks=pytest.mark.pulsar)])
def bus_url(request: pytest.FixtureRequest) -> str:
    """The address of a bus without topics."""
    if request.param == "embedded":
        server: ValkeyServer = request.getfixturevalue("embedded_bus_server")
        return server.url
    broker: PulsarServer = request.getfixturevalue("pulsar_address")
    address, _, admin = broker.start().url.partition("?")
    return f"{address}/public/windows-{secrets.token_hex(4)}" + (f"?{admin}" if admin else "")


@pytest.fixture
async def system(bus_url: str, valkey_server: ValkeyServer) -> AsyncIterator[System]:
    async with running(bus_url, valkey_server) as started:
        yield started


@pytest.fixture
async def embedded_system(embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer) -> AsyncIterator[System]:
    async with running(embedded_bus_server.url, valkey_server) as started:
        yield started
