"""The dashboard's door, and its numbers from real windows."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from feature_store.worker import run_worker
from tests.integration.serving.serving_tools import KEYS, SECRET, WRITE, Server, event


@pytest.fixture
async def worked(server: Server) -> AsyncIterator[Server]:
    """A server whose events are applied by a real worker."""
    stop = asyncio.Event()
    store = OnlineStore(server.store_server.url)
    worker = asyncio.create_task(run_worker(server.bus, store, WorkerSettings(), stop))
    yield server
    stop.set()
    await worker
    await store.close()


async def test_clicks_are_seen_with_what_the_catalogue_knows(worked: Server) -> None:
    await worked.put({"item_id": "mug", "title": "Blue mug", "price": 4.5, "currency": "EUR", "image": "/mug.jpg"})
    ask = {"visitor": "browser-1", "budget_ms": 1_000}
    answer = await worked.client.get("/v1/recommendations", params=ask, headers=WRITE)
    await _post(worked, "view_item", "mug")
    await _post(worked, "view_item", "jug")
    await _post(worked, "purchase", "mug")
    for name in ("view_item_list", "select_item"):
        await _post(worked, name, "mug", placement="home", recommendation_id=answer.json()["recommendation_id"])

    async with asyncio.timeout(60):
        while len((numbers := await _numbers(worked)).get("top", ())) < 2 or not numbers["placements"]:
            await asyncio.sleep(0.1)

    mug = next(item for item in numbers["top"] if item["item_id"] == "mug")
    assert mug["views_1h"] == 1
    assert mug["purchases_1h"] == 1
    assert mug["properties"] == {"title": "Blue mug", "price": 4.5, "currency": "EUR", "image": "/mug.jpg"}
    assert {item["item_id"]: item.get("properties") for item in numbers["top"]}["jug"] is None
    assert numbers["placements"] == [{"placement": "home", "shown_1h": 1, "clicked_1h": 1, "ctr": 1.0}]
    assert numbers["freshness"]["events"] >= 5
    assert numbers["answers"]["answers"] >= 1
    assert numbers["answers"]["p99_ms"] > 0
    assert numbers["products_known"] == 1


async def _post(server: Server, name: str, item_id: str, **fields: str) -> None:
    sent = event(message_id=f"{name:-<16}{item_id}", event=name, items=[{"item_id": item_id}], **fields)
    assert (await server.client.post("/v1/events", json=sent, headers=WRITE)).status_code == 202


async def _numbers(server: Server) -> dict[str, object]:
    response = await server.client.get("/dashboard/data", headers=SECRET)
    return response.json()


@pytest.mark.parametrize("headers", [{}, WRITE, {"Cookie": "afterclick_session=0123"}])
async def test_without_the_secret_key_there_is_only_the_login(server: Server, headers: dict[str, str]) -> None:
    page = await server.client.get("/dashboard", headers=headers)
    numbers = await server.client.get("/dashboard/data", headers=headers)

    assert (page.status_code, numbers.status_code) == (401, 401)
    assert "Secret key" in page.text
    assert "Most viewed" not in page.text


async def test_the_key_opens_a_session_and_leaves_the_address_bar(server: Server) -> None:
    by_address = await server.client.get("/dashboard", params={"key": KEYS.secret_key})
    page = await server.client.get("/dashboard")

    assert (by_address.status_code, by_address.headers["location"]) == (303, "/dashboard")
    cookie = by_address.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEYS.secret_key not in cookie
    assert page.status_code == 200
    assert "Most viewed" in page.text


async def test_the_form_lets_in_who_has_the_key(server: Server) -> None:
    wrong = await server.client.post("/dashboard/login", data={"key": KEYS.write_key})
    right = await server.client.post("/dashboard/login", data={"key": f" {KEYS.secret_key} "})

    assert wrong.status_code == 401
    assert "not the secret key" in wrong.text
    assert KEYS.write_key not in wrong.text
    assert right.status_code == 303
    assert (await server.client.get("/dashboard")).status_code == 200


async def test_a_session_does_not_open_the_api(server: Server) -> None:
    await server.client.post("/dashboard/login", data={"key": KEYS.secret_key})

    assert (await server.client.get("/metrics")).status_code == 401
    assert (await server.client.post("/v1/catalog", json=[{"item_id": "mug"}])).status_code == 401


async def test_the_page_asks_no_foreign_host(server: Server) -> None:
    page = await server.client.get("/dashboard", headers=SECRET)
    names = ("dashboard.css", "dashboard.js", "mark.svg")
    assets: list[httpx.Response] = [await server.client.get(f"/dashboard/assets/{name}") for name in names]

    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert [asset.status_code for asset in assets] == [200, 200, 200]
    assert (await server.client.get("/dashboard/assets/dashboard.html")).status_code == 404
    assert (await server.client.get("/dashboard/assets/..%2f..%2fkeys.py")).status_code == 404


async def test_a_stopped_store_is_told_and_suggestions_go_on(server: Server) -> None:
    server.store_server.kill()

    numbers = await server.client.get("/dashboard/data", headers=SECRET)
    answer = await server.client.get("/v1/recommendations", params={"visitor": "v", "placement": "home"}, headers=WRITE)

    assert numbers.status_code == 503
    assert "retry-after" in numbers.headers
    assert answer.status_code == 200
