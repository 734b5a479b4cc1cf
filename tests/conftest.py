"""Servers for tests, real ones, each on a free port of the loopback interface and a folder of its own.

Fixtures:
    valkey_server: a fresh Valkey with `appendfsync everysec`, as the online store's; `.url`, `.kill()`, `.start()`.
    embedded_bus_server: the same with `appendfsync always`, as the embedded bus's.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from afterclick.valkey_server import ValkeyServer, free_port


def _running_valkey(data_dir: Path, appendfsync: str) -> Iterator[ValkeyServer]:
    server = ValkeyServer(data_dir, free_port(), "always" if appendfsync == "always" else "everysec")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A store's Valkey, empty."""
    yield from _running_valkey(tmp_path / "valkey", "everysec")


@pytest.fixture
def embedded_bus_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A bus's Valkey, empty."""
    yield from _running_valkey(tmp_path / "bus", "always")
