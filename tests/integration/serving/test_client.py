"""The Python client, and the cookbook's code, against a server on a real socket."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from afterclick.client import AfterclickError, Client, Recommendations, UnansweredError
from api.server import listening_socket, serve
from api.settings import ApiSettings
from tests.integration.serving.serving_tools import KEYS, Server

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def address(server: Server) -> AsyncIterator[str]:
    stop, listener = asyncio.Event(), listening_socket("127.0.0.1", 0)
    serving = asyncio.create_task(serve(server.app, ApiSettings(), stop=stop, listener=listener, lifespan="off"))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    await serving


async def _filled(address: str) -> tuple[Client, Client]:
    owner, shop = (Client(address, key, timeout_s=30) for key in (KEYS.secret_key, KEYS.write_key))
    products = [{"item_id": f"item-{n}", "title": f"Item {n}", "price": n + 1.0} for n in range(20)]
    assert await asyncio.to_thread(owner.catalog, products) == 20
    return owner, shop


async def test_every_call_of_the_client(address: str) -> None:
    owner, shop = await _filled(address)

    def calls() -> tuple[Any, ...]:
        first = shop.recommend("v", n=4, budget_ms=1_000, return_properties=True)
        following = shop.next(first, "v", n=4, budget_ms=1_000)
        reranked = shop.rerank("v", ["item-3", "item-1"], budget_ms=1_000)
        shop.track("view_item", "v", [{"item_id": "item-3"}])
        bulk = list(owner.bulk([{"visitor": "v", "n": 2, "budget_ms": 1_000}, {"visitor": ""}]))
        lists = shop.trending(n=3, return_properties=True), shop.similar("item-1"), shop.bought_together("item-1")
        return first, following, reranked, bulk, lists

    first, following, reranked, bulk, lists = await asyncio.to_thread(calls)

    assert len(first.items) == 4
    assert first.items[0].properties["title"].startswith("Item ")
    assert not {item.id for item in first.items} & {item.id for item in following.items}
    assert [item.id for item in reranked.items] == ["item-3", "item-1"]
    assert isinstance(bulk[0], Recommendations)
    assert isinstance(bulk[1], AfterclickError)
    # Nothing is bought yet; what is alike the catalogue knows.
    assert [len(found) for found in lists] == [3, 19, 0]


async def test_what_is_wrong_is_told_and_nobody_there_is_another_matter(address: str) -> None:
    _, shop = await _filled(address)

    with pytest.raises(AfterclickError) as refused:
        await asyncio.to_thread(shop.recommend, "v", filter="prize < 5")
    assert (refused.value.status, refused.value.code) == (422, "bad_expression")
    assert "did you mean `price`?" in str(refused.value.next_step)
    with pytest.raises(UnansweredError):
        await asyncio.to_thread(Client("http://127.0.0.1:1", "wk").trending)


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(address: str) -> None:
    _, shop = await _filled(address)

    def twice() -> int:
        shop.trending(n=1)
        # As the other end's idle timeout does.
        shop._local.connection.sock.shutdown(socket.SHUT_RDWR)
        return len(shop.trending(n=1))

    assert await asyncio.to_thread(twice) == 1


async def test_the_cookbooks_python_runs(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await _filled(address)
    monkeypatch.setenv("AFTERCLICK_URL", address)
    monkeypatch.setenv("AFTERCLICK_KEY", KEYS.write_key)
    page = (ROOT / "docs" / "cookbook" / "server-rendered.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)).replace("timeout_s=0.3", "timeout_s=30")

    def shop() -> tuple[Any, ...]:
        there: dict[str, Any] = {}
        exec(compile(code, "server-rendered.md", "exec"), there)
        there["order_paid"]("v", "o1", [("item-1", 2, 2.0)])
        answer = there["suggestions_for"]("v", "item-3")
        return answer, there["suggestions_html"](answer), there["in_their_order"]("v", ["item-9", "item-2"])

    answer, html, order = await asyncio.to_thread(shop)

    assert len(answer.items) == 4
    assert f'data-afterclick-recommendation="{answer.recommendation_id}"' in html
    assert html.count("data-afterclick-product") == 4
    assert sorted(order) == ["item-2", "item-9"]


def test_the_client_loads_nothing_but_the_standard_library() -> None:
    ours_or_others = "{'api', 'httpx', 'numpy', 'typer', 'msgspec', 'ingest'}"
    code = f"import sys, afterclick.client; print([m for m in sys.modules if m.split('.')[0] in {ours_or_others}])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert said.stdout.strip() == "[]"
