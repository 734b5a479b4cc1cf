"""An independent checker (schemathesis) on the running server finds nothing that the description does not say."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.server import listening_socket, serve
from api.settings import ApiSettings
from tests.integration.serving.serving_tools import KEYS, Server

_HERE = Path(__file__).parent
# A minute on a quiet machine; on a busy one it takes what it takes.
_SECONDS_MAX = 600


@pytest.fixture
async def address(server: Server) -> AsyncIterator[str]:
    """The same application on a real socket."""
    await server.put(*[{"item_id": f"item-{number}", "price": number + 1} for number in range(20)])
    stop, listener = asyncio.Event(), listening_socket("127.0.0.1", 0)
    # The fixture's server has started the application already: its second start is of no lifespan.
    serving = asyncio.create_task(serve(server.app, ApiSettings(), stop=stop, listener=listener, lifespan="off"))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    await serving


@pytest.mark.timeout(_SECONDS_MAX + 60)
async def test_schemathesis_finds_nothing(address: str, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("--config-file", str(_HERE / "schemathesis.toml")),
        *("run", f"{address}/openapi.json", "--phases", "coverage,fuzzing", "--max-examples", "8"),
        # A forecast reads the archive in a process of its own, which takes long to start on a busy machine.
        *("--request-timeout", "120", "--seed", "1", "--no-shrink", "--continue-on-failure", "--workers", "1"),
        *("--header", f"Authorization: Bearer {KEYS.secret_key}"),
    ]
    env = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(_HERE)}
    checking = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(checking.communicate(), _SECONDS_MAX)
    finally:
        with contextlib.suppress(ProcessLookupError):
            checking.kill()

    assert checking.returncode == 0, said.decode("utf-8", "replace")[-20_000:]
