"""`afterclick catalog import` against a server on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from afterclick.__main__ import app
from api.server import listening_socket, serve
from api.settings import ApiSettings
from tests.integration.serving.serving_tools import KEYS, Server

FEED = """<rss xmlns:g="http://base.google.com/ns/1.0"><channel>
<item><g:id>mug</g:id><g:title>Mug</g:title><g:price>4.50 EUR</g:price></item>
<item><g:title>Nameless</g:title></item></channel></rss>"""


@pytest.fixture
async def address(server: Server) -> AsyncIterator[str]:
    stop, listener = asyncio.Event(), listening_socket("127.0.0.1", 0)
    serving = asyncio.create_task(serve(server.app, ApiSettings(), stop=stop, listener=listener, lifespan="off"))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    await serving


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    keys = {"write_key": KEYS.write_key, "secret_key": KEYS.secret_key, "visitor_secret": KEYS.visitor_secret}
    path = tmp_path / "keys.toml"
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in keys.items()))
    path.chmod(0o600)
    return tmp_path


async def _import(file: Path, *options: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["catalog", "import", str(file), *options])


async def test_a_feed_is_taken_and_what_is_refused_is_named(server: Server, address: str, data_dir: Path) -> None:
    feed = data_dir / "feed.xml"
    feed.write_text(FEED)

    told = await _import(feed, "--url", address, "--data-dir", str(data_dir))

    mug = server.catalog.get("mug")
    assert told.exit_code == 0, told.output
    assert "1 products taken, 1 refused" in told.output
    assert "`item_id`" in told.output
    assert mug is not None
    assert (mug.title, mug.price, mug.currency) == ("Mug", 4.5, "EUR")


async def test_a_dry_run_sends_nothing_and_a_missing_file_is_told(data_dir: Path) -> None:
    feed = data_dir / "feed.xml"
    feed.write_text(FEED)

    shown = await _import(feed, "--dry-run")
    missing = await _import(data_dir / "none.csv", "--data-dir", str(data_dir))

    assert "'item_id': 'mug'" in shown.output
    assert missing.exit_code == 2
    assert "none.csv" in missing.output
