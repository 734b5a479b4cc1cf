"""Our online store under a real Feast, which has an environment of its own (`requirements-feast.lock`)."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterclick.valkey_server import ValkeyServer
from feature_store.online_store import OnlineStore
from ingest.bus import open_bus
from ingest.collector import Collector
from ingest.settings import CollectorSettings
from ingest.topics import EVENTS, EVENTS_REJECTED
from tests.integration.windows.windows_tools import BUS, PARTITIONS, WORKER, eventually, working

ROOT = Path(__file__).parents[3]
SECRET = bytes(range(32))


@pytest.fixture(scope="session")
def feast_python() -> str:
    """The Python of an environment with Feast, made when its lock changed."""
    lock = ROOT / "requirements-feast.lock"
    folder = ROOT / ".venv-feast"
    note = folder / f".installed-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    python = folder / "bin" / "python"
    if not note.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", lock], check=True)
        note.touch()
    return str(python)


def answered_by_feast(python: str, url: str, folder: Path) -> dict[str, Any]:
    keys_file = folder / "keys.toml"
    keys_file.write_text(f'visitor_secret = "{SECRET.hex()}"\n')
    script = Path(__file__).with_name("feast_reader.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FEAST_USAGE": "False"}
    done = subprocess.run(
        [python, script, url, keys_file, folder], env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert lines, done.stderr[-3_000:]
    answer: dict[str, Any] = json.loads(lines[0].removeprefix("ANSWER "))
    return answer


@pytest.mark.timeout(900)
async def test_feast_reads_features_from_our_store(
    feast_python: str, embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    bus, store = await open_bus(embedded_bus_server.url, BUS), OnlineStore(valkey_server.url)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    now_ms = time.time_ns() // 1_000_000
    collector = Collector(bus, CollectorSettings(), SECRET, lambda: now_ms)
    sent = [
        {"message_id": f"message-{n}", "event": event, "anonymous_id": who, "items": [{"item_id": item}]}
        for n, (event, who, item) in enumerate(
            [("view_item", "ann", "mug"), ("view_item", "ann", "hat"), ("purchase", "bob", "mug")]
        )
    ]
    body = msgspec.json.encode({"events": sent})
    reply = await collector.accept(body, content_type="application/json", received_at_ms=now_ms)
    assert reply.status == 202
    async with working(bus, store, WORKER):

        async def taken_in() -> bool:
            return len([key async for key, _ in store.scan(b"v:*")]) == 2

        await eventually(taken_in, "the worker to take the events in")
    await collector.close()
    await store.close()
    await bus.close()

    answer = answered_by_feast(feast_python, valkey_server.url, tmp_path)

    visitors, items = answer["visitors"], answer["items"]
    assert visitors["visitor"] == ["ann", "bob", "nobody"]
    assert visitors["view_1h"] == [2, 0, None]
    assert [sorted(found or []) for found in visitors["event_items"]] == [["hat", "mug"], ["mug"], []]
    assert [found is None for found in visitors["since_purchase_ms"]] == [True, False, True]
    assert (items["view_1h"], items["purchase_24h"]) == ([1, None], [1, None])
    assert answer["write"].startswith("NotImplementedError")
    assert "wanted events" in answer["write"]
