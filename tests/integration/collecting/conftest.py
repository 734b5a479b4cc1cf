"""A real Valkey for each test, and clicks to post."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from afterclick.valkey_server import ValkeyServer, free_port
from ingest.bus.embedded import EmbeddedBus
from ingest.topics import EVENTS, EVENTS_REJECTED

PARTITIONS = 4


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey", free_port(), "always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def embedded(valkey: ValkeyServer) -> AsyncIterator[EmbeddedBus]:
    bus = await EmbeddedBus.connect(valkey.url)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    yield bus
    await bus.close()
