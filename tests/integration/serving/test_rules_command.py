"""`afterclick rules` against a server on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from afterclick.commands_rules import app
from api.server import listening_socket, serve
from api.settings import ApiSettings
from tests.integration.serving.serving_tools import KEYS, SECRET, Server

PIN = {"rule_id": "pin-7", "consequence": "pin", "items": ["item-7"]}


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    listener = listening_socket("127.0.0.1", 0)
    stop = asyncio.Event()
    # Its background tasks run already: the fixture `server` has begun the application's life.
    serving = asyncio.create_task(serve(server.app, ApiSettings(), stop=stop, listener=listener))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    await serving


async def _rules(url: str, data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Exit code, and all that was written; on a thread, since the server is on this one."""
    command = [*arguments, "--url", url, "--data-dir", str(data_dir)]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    return result.exit_code, result.output


async def test_decisions_go_out_to_a_file_and_come_back(server: Server, url: str, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(f'write_key = "{KEYS.write_key}"\nsecret_key = "{KEYS.secret_key}"\n')
    await server.client.post("/v1/rules", json={"id": "pin-7", "document": PIN, "who": "ann"}, headers=SECRET)
    file = tmp_path / "decisions.json"

    listed = await _rules(url, tmp_path, "list")
    exported = await _rules(url, tmp_path, "export", str(file))
    decisions = json.loads(file.read_text())
    decisions["rules"]["pin-7"]["items"] = ["item-8"]
    file.write_text(json.dumps(decisions))
    imported = await _rules(url, tmp_path, "import", str(file), "--who", "git")
    undone = await _rules(url, tmp_path, "undo", "rule", "pin-7")
    audited = await _rules(url, tmp_path, "audit")
    missing = await _rules(url, tmp_path, "undo", "rule", "no-such-rule")

    assert listed[0] == 0, listed[1]
    assert "pin-7" in listed[1]
    assert exported[0] == 0, exported[1]
    assert "1 changed, 0 as they were" in imported[1]
    assert "version 3" in undone[1]
    got = (await server.client.get("/v1/rules/pin-7", headers=SECRET)).json()
    assert got["document"]["items"] == ["item-7"]
    assert [line.split()[1] for line in audited[1].splitlines()] == ["afterclick", "git", "ann"]
    assert missing[0] == 2
    assert "GET /v1/rules" in missing[1]
