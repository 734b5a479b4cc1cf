"""A whole server, and the two Valkey servers under it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from afterclick.ports import free_port
from afterclick.valkey_server import ValkeyServer
from api.settings import ApiSettings
from feature_store.kernels import compile_all
from tests.integration.serving.serving_tools import SHOP, Server, serving


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    compile_all()


@pytest.fixture
def valkeys(tmp_path: Path) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    bus = ValkeyServer(tmp_path / "bus", port=free_port(), appendfsync="always")
    store = ValkeyServer(tmp_path / "store", port=free_port(), appendfsync="everysec")
    bus.start()
    store.start()
    yield bus, store
    bus.kill()
    store.kill()


@pytest.fixture
async def server(valkeys: tuple[ValkeyServer, ValkeyServer]) -> AsyncIterator[Server]:
    async with serving(*valkeys, settings=ApiSettings(allowed_origins=(SHOP,))) as running:
        yield running
