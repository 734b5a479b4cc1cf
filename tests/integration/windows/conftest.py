"""A store and a bus for each test; what a bus promises is tried on the embedded one and on a real Apache Pulsar."""

from collections.abc import AsyncIterator

import pytest

from afterclick.valkey_server import ValkeyServer
from feature_store.kernels import compile_all
from tests.integration.windows.windows_tools import System, running


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    compile_all()


@pytest.fixture
async def system(bus_url: str, valkey_server: ValkeyServer) -> AsyncIterator[System]:
    async with running(bus_url, valkey_server) as started:
        yield started


@pytest.fixture
async def embedded_system(embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer) -> AsyncIterator[System]:
    async with running(embedded_bus_server.url, valkey_server) as started:
        yield started
