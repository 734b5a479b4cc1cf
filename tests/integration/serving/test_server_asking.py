"""Next pages, reranking, bulk, a visitor's latest items and explanations, asked of a whole server."""

import asyncio
from typing import Any

import msgspec
import pytest

from afterclick.valkey_server import ValkeyServer
from api.settings import ApiSettings
from tests.integration.serving.serving_tools import SECRET, WRITE, Server, serving

ITEMS = [{"item_id": f"item-{number}", "price": number + 1.0} for number in range(30)]
ASK: dict[str, Any] = {"visitor": "browser-1", "budget_ms": 1_000, "n": 8}


async def _ask(server: Server, path: str = "/v1/recommendations", **changes: object) -> dict[str, Any]:
    response = await server.client.get(path, params=ASK | changes, headers=WRITE)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


async def test_pages_that_follow_an_answer_repeat_nothing(server: Server) -> None:
    await server.put(*ITEMS)

    pages = [await _ask(server, placement="cart", item="item-3")]
    for _ in range(4):
        pages.append(await _ask(server, f"/v1/recommendations/{pages[-1]['recommendation_id']}/next"))

    shown = [item_id for page in pages for item_id in _ids(page)]
    assert len(shown) == len(set(shown)) == 29
    assert {page["placement"] for page in pages} == {"cart"}


async def test_an_answer_of_another_process_is_found_on_the_bus(valkeys: tuple[ValkeyServer, ValkeyServer]) -> None:
    none_kept = ApiSettings(answers_kept_share=0.0)
    async with serving(*valkeys, settings=none_kept) as first:
        await first.put(*ITEMS)
        answer = await _ask(first)
        async with serving(*valkeys, settings=none_kept) as second:
            following = await _ask(second, f"/v1/recommendations/{answer['recommendation_id']}/next")
            explained = await second.client.get(
                "/v1/explain", params={"recommendation_id": answer["recommendation_id"]}, headers=SECRET
            )

    assert not set(_ids(answer)) & set(_ids(following))
    assert explained.json()["answer"]["item_ids"] == _ids(answer)
    assert "0%" in explained.json()["not_kept"]


async def test_an_answer_is_nobody_elses(server: Server) -> None:
    await server.put(*ITEMS)
    answer = await _ask(server)
    path = f"/v1/recommendations/{answer['recommendation_id']}/next"

    foreign = await server.client.get(path, params={"visitor": "browser-2"}, headers=WRITE)
    unknown = await server.client.get("/v1/recommendations/nonsense/next", params=ASK, headers=WRITE)

    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.json()["got"] == answer["recommendation_id"]


async def test_candidates_keep_the_shops_order_for_a_stranger(server: Server) -> None:
    await server.put(*ITEMS, {"item_id": "gone", "availability": "out_of_stock"})
    body = {"visitor": "browser-1", "items": ["item-9", "gone", "unheard-of", "item-2", "item-9"], "budget_ms": 1_000}

    plain = (await server.client.post("/v1/rerank", json=body, headers=WRITE)).json()
    filtered = await server.client.post("/v1/rerank", json=body | {"filter": "price < 5"}, headers=WRITE)
    refused = await server.client.post("/v1/rerank", json=body | {"items": ["x"] * 1_001}, headers=WRITE)

    assert _ids(plain) == ["item-9", "unheard-of", "item-2", "gone"]
    assert (plain["order"], plain["degraded"]) == ("given", "no-model")
    assert _ids(filtered.json()) == ["item-2"]
    assert refused.status_code == 422


async def test_a_bulk_answers_line_by_line_and_one_bad_line_sinks_no_other(server: Server) -> None:
    await server.put(*ITEMS)
    lines = [ASK | {"visitor": f"v{number}"} for number in range(20)] + [{"visitor": ""}, {"n": 1}]
    body = b"\n".join(msgspec.json.encode(line) for line in lines)

    response = await server.client.post(
        "/v1/recommendations/bulk", content=body, headers=SECRET | {"Content-Type": "application/x-ndjson"}
    )

    answers = [msgspec.json.decode(line) for line in response.content.splitlines()]
    assert response.headers["content-type"] == "application/x-ndjson"
    assert [len(answer["items"]) for answer in answers[:20]] == [8] * 20
    assert [answer["problem"]["status"] for answer in answers[20:]] == [422, 422]


async def test_a_bulk_waits_while_visitors_are_many(valkeys: tuple[ValkeyServer, ValkeyServer]) -> None:
    async with serving(*valkeys, settings=ApiSettings(in_flight_max=1, bulk_concurrency=4)) as server:
        await server.put(*ITEMS)
        body = b"\n".join(msgspec.json.encode(ASK) for _ in range(40))
        headers = SECRET | {"Content-Type": "application/x-ndjson"}

        response = await server.client.post("/v1/recommendations/bulk", content=body, headers=headers)

    answers = [msgspec.json.decode(line) for line in response.content.splitlines()]
    assert [len(answer["items"]) for answer in answers] == [8] * 40


async def test_bulks_need_the_secret_key_and_lines(server: Server) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    public = await server.client.post("/v1/recommendations/bulk", content=b"{}", headers=WRITE | headers)
    empty = await server.client.post("/v1/recommendations/bulk", content=b"\n", headers=SECRET | headers)

    assert (public.status_code, empty.status_code) == (403, 400)


async def test_a_strangers_latest_items_are_none(server: Server) -> None:
    nobody = await server.client.get("/v1/visitors/browser-1/recent", headers=SECRET)
    public = await server.client.get("/v1/visitors/browser-1/recent", headers=WRITE)
    long = await server.client.get(f"/v1/visitors/{'v' * 200}/recent", headers=SECRET)

    assert (nobody.json(), public.status_code, long.status_code) == ({"items": []}, 403, 422)


@pytest.mark.parametrize("path", ["/v1/items/item-1/bought-together", "/v1/items/unheard-of/similar"])
async def test_what_nothing_is_known_of_goes_with_nothing(server: Server, path: str) -> None:
    await server.put(*ITEMS)

    response = await server.client.get(path, headers=WRITE)

    assert response.json() == {"items": []}


async def test_a_store_that_is_away_is_told(server: Server) -> None:
    server.pause_store()
    try:
        response = await asyncio.wait_for(server.client.get("/v1/visitors/b/recent", headers=SECRET), 5)
    finally:
        server.resume_store()

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
