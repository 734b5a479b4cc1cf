"""Suggestions asked of a whole server."""

import asyncio
import time

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from api.edge import FIRST_BYTE
from api.suggestions import Recommendations
from ingest.identity import visitor_key
from ingest.topics import ANSWERS
from tests.integration.serving.serving_tools import KEYS, WRITE, Server

# The largest budget: a busy machine must not turn these answers into refusals.
ASK = {"visitor": "browser-1", "placement": "home", "budget_ms": 1_000}
ITEMS = [{"item_id": f"item-{number}", "title": f"Item {number}", "price": number + 0.5} for number in range(30)]


async def ask(server: Server, **changes: object) -> httpx.Response:
    return await server.client.get("/v1/recommendations", params=ASK | changes, headers=WRITE)


async def test_an_empty_shop_gets_an_empty_answer(server: Server) -> None:
    response = await ask(server)

    answer = response.json()
    assert response.status_code == 200
    assert answer["items"] == []
    assert answer["degraded"] == "no-data"
    assert answer["served_by"] == "none"
    assert answer["experiment"] is None


async def test_n_items_come_whenever_n_are_eligible(server: Server) -> None:
    await server.put(*ITEMS)

    items = (await ask(server, n=10)).json()["items"]

    assert len({item["id"] for item in items}) == 10


async def test_the_answer_is_what_the_types_promise_and_is_never_cached(server: Server) -> None:
    await server.put(*ITEMS)

    response = await ask(server, return_properties="true", explain="true")

    answer = msgspec.json.decode(response.content, type=Recommendations)
    assert set(response.json()) == {field.name for field in msgspec.structs.fields(Recommendations)}
    assert 0 < len(answer.recommendation_id) <= 160
    assert answer.items[0].properties == {
        "title": f"Item {answer.items[0].id[5:]}",
        "price": int(answer.items[0].id[5:]) + 0.5,
    }
    assert response.headers["cache-control"] == "private, no-store"


async def test_a_post_asks_the_same(server: Server) -> None:
    await server.put(*ITEMS)

    body = ASK | {"n": 5, "exclude": ["item-0"], "included_properties": ["title"], "return_properties": True}
    response = await server.client.post("/v1/recommendations", json=body, headers=WRITE)

    items = response.json()["items"]
    assert len(items) == 5
    assert "item-0" not in {item["id"] for item in items}
    assert set(items[0]["properties"]) == {"title"}


@pytest.mark.parametrize(
    ("changes", "wanted", "got"),
    [
        ({"n": 0}, "1 to 200", '"0"'),
        ({"n": 10_000}, "1 to 200", '"10000"'),
        ({"n": "many"}, "1 to 200", '"many"'),
        ({"budget_ms": 0}, "1 to 1000", '"0"'),
        ({"budget_ms": "soon"}, "1 to 1000", '"soon"'),
        ({"visitor": ""}, "1 to 128", '""'),
        ({"placement": "attic"}, "home, product-page", "attic"),
        ({"placment": "home"}, "placement", "`placment`"),
        ({"included_properties": "colour"}, "title", '"colour"'),
        ({"explain": "perhaps"}, "true or false", '"perhaps"'),
    ],
)
async def test_a_bad_parameter_is_named(server: Server, changes: dict[str, object], wanted: str, got: str) -> None:
    response = await ask(server, **changes)

    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert wanted in problem["wanted"]
    assert problem["got"] == got
    assert problem["next_step"]


async def test_a_question_without_a_visitor_is_refused(server: Server) -> None:
    response = await server.client.get("/v1/recommendations", headers=WRITE)

    assert response.status_code == 422
    assert response.json()["wanted"].startswith("`visitor`")


async def test_a_body_that_is_no_json_is_refused(server: Server) -> None:
    headers = WRITE | {"Content-Type": "application/json"}

    broken = await server.client.post("/v1/recommendations", content=b"{", headers=headers)
    wrong = await server.client.post("/v1/recommendations", json=ASK | {"n": "5"}, headers=WRITE)
    large = await server.client.post("/v1/recommendations", content=b" " * 70_000, headers=headers)
    form = await server.client.post("/v1/recommendations", data={"visitor": "v"}, headers=WRITE)

    assert [r.status_code for r in (broken, wrong, large, form)] == [400, 422, 413, 415]


async def test_a_stopped_store_leaves_an_answer_within_its_budget(server: Server) -> None:
    await server.put(*ITEMS)
    server.pause_store()

    response = await ask(server, item="item-3")
    server.resume_store()

    answer = response.json()
    assert response.status_code == 200
    assert answer["degraded"] == "store-unavailable"
    assert len(answer["items"]) == 20
    # The store had its 100 ms of it.
    assert 90 < answer["took_ms"] < 1_000


async def test_a_store_that_keeps_failing_is_left_alone_and_found_again(server: Server) -> None:
    await server.put(*ITEMS)
    server.pause_store()
    failing_since_s = time.monotonic()
    while time.monotonic() - failing_since_s < 1.2:
        await ask(server)
    before = _left_alone()

    answers = [(await ask(server)).json() for _ in range(20)]
    server.resume_store()

    assert {answer["degraded"] for answer in answers} == {"store-unavailable"}
    assert _left_alone() > before
    async with asyncio.timeout(60):
        while (await ask(server)).json()["degraded"] == "store-unavailable":
            await asyncio.sleep(0.05)


def _left_alone() -> float:
    labels = {"reason": "left_alone"}
    return REGISTRY.get_sample_value("afterclick_api_store_reads_failed_total", labels) or 0.0


async def test_what_was_served_is_logged_without_the_raw_visitor(server: Server) -> None:
    await server.put(*ITEMS)

    answer = (await ask(server, n=3, item="item-7")).json()

    logged = await _logged(server)
    assert b"browser-1" not in logged
    entry = msgspec.json.decode(logged)
    assert entry["recommendation_id"] == answer["recommendation_id"]
    assert entry["item_ids"] == [item["id"] for item in answer["items"]]
    assert entry["visitor_key"] == visitor_key("browser-1", secret=KEYS.visitor_secret_bytes).hex()
    assert entry["item_id"] == "item-7"


async def _logged(server: Server) -> bytes:
    async with asyncio.timeout(30):
        while True:
            for partition in range(2):
                async for delivery in server.bus.read(ANSWERS, partition, until_now=True):
                    payload = delivery.entries[0].payload
                    assert payload is not None
                    return payload
            await asyncio.sleep(0.02)


async def test_lists_for_everybody(server: Server) -> None:
    await server.put(*ITEMS)

    trending = await server.client.get("/v1/trending", params={"n": 4}, headers=WRITE)
    similar = await server.client.get("/v1/items/item-1/similar", headers=WRITE)
    refused = await server.client.get("/v1/trending", params={"n": 0}, headers=WRITE)

    assert len(trending.json()["items"]) == 4
    alike = {item["id"] for item in similar.json()["items"]}
    assert len(alike) == 20
    assert "item-1" not in alike
    assert refused.status_code == 422


async def test_time_spent_in_the_queue_is_time_of_the_budget(server: Server) -> None:
    await server.put(*ITEMS)

    in_time = await _ask_after(server, waited_ms=100, budget_ms=1_000)
    too_late = await _ask_after(server, waited_ms=250, budget_ms=200)

    assert in_time.json()["took_ms"] >= 100
    assert too_late.status_code == 503
    assert int(too_late.headers["retry-after"]) >= 1
    assert "200 ms" in too_late.json()["got"]


async def _ask_after(server: Server, *, waited_ms: int, budget_ms: int) -> httpx.Response:
    """As if the request's first byte had been read `waited_ms` ago."""

    async def waited(scope: Scope, receive: Receive, send: Send) -> None:
        scope[FIRST_BYTE] = time.perf_counter() - waited_ms / 1000
        await server.app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(waited), base_url="http://api.test") as client:
        return await client.get("/v1/recommendations", params=ASK | {"budget_ms": budget_ms}, headers=WRITE)
