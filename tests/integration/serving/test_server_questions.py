"""Filters, boosters, placements and the other parameters of a question, asked of a whole server."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from afterclick.valkey_server import ValkeyServer
from api.settings import ApiSettings
from recommender.placements import Placement
from recommender.requests import Logic
from tests.integration.serving.serving_tools import SECRET, WRITE, Server, serving

ITEMS = [
    {"item_id": "mug", "title": "Blue mug", "price": 4.5, "category": "kitchen"},
    {"item_id": "pot", "title": "Pot", "price": 49.0, "category": "kitchen"},
    {"item_id": "lamp", "title": "Lamp", "price": 80.0, "category": "light"},
    {"item_id": "bulb", "title": "Bulb", "price": 2.0, "category": "light"},
]


@pytest.fixture
async def shop(valkeys: tuple[ValkeyServer, ValkeyServer]) -> AsyncIterator[Server]:
    placements = {
        "home": Placement(n=3),
        "cheap": Placement(Logic.TRENDING, (Logic.PERSONAL,), filter="price < 50", title="Under 50"),
    }
    async with serving(*valkeys, settings=ApiSettings(placements=placements)) as server:
        await server.put(*ITEMS)
        yield server


async def _ask(server: Server, **changes: object) -> httpx.Response:
    asked = {"visitor": "v", "budget_ms": 1_000} | changes
    return await server.client.get("/v1/recommendations", params=asked, headers=WRITE)


async def _ids(server: Server, **changes: object) -> set[str]:
    return {item["id"] for item in (await _ask(server, **changes)).json()["items"]}


async def test_a_filter_holds_also_where_no_model_knows_the_items(shop: Server) -> None:
    assert await _ids(shop, n=10, filter="price < 50 and category == current.category", item="pot") == {"mug"}
    assert await _ids(shop, n=10, filter="title contains 'b'") == {"mug", "bulb"}


async def test_a_change_of_price_counts_at_once(shop: Server) -> None:
    before = await _ids(shop, n=10, filter="price < 10")
    await shop.put({"item_id": "lamp", "price": 9.0})

    assert before == {"mug", "bulb"}
    assert await _ids(shop, n=10, filter="price < 10") == {"mug", "bulb", "lamp"}


async def test_a_placement_says_what_its_requests_do_not(shop: Server) -> None:
    assert len((await _ask(shop)).json()["items"]) == 3
    assert len((await _ask(shop, n=4)).json()["items"]) == 4
    assert await _ids(shop, placement="cheap") == {"mug", "pot", "bulb"}
    assert await _ids(shop, placement="cheap", filter="price > 10") == {"pot"}


async def test_a_bad_expression_is_refused_at_its_column(shop: Server) -> None:
    filtered = await _ask(shop, filter="price < 50 and categry == 'x'")
    boosted = await _ask(shop, booster="price <")

    problem = filtered.json()
    assert (filtered.status_code, problem["parameter"], problem["column"]) == (422, "filter", 16)
    assert "did you mean `category`?" in problem["next_step"]
    assert (boosted.status_code, boosted.json()["parameter"]) == (422, "booster")


async def test_high_relevance_is_not_filled_up_with_anything(shop: Server) -> None:
    assert await _ids(shop, min_relevance="medium") == set()


@pytest.mark.parametrize(
    "changes",
    [{"rotation_rate": 2}, {"min_relevance": "some"}, {"diversity": -1}, {"rotation_time": 0}, {"filter": ""}],
)
async def test_parameters_out_of_range_are_refused(shop: Server, changes: dict[str, Any]) -> None:
    assert (await _ask(shop, **changes)).status_code == 422


async def test_placements_are_listed_for_the_secret_key(shop: Server) -> None:
    listed = await shop.client.get("/v1/placements", headers=SECRET)
    refused = await shop.client.get("/v1/placements", headers=WRITE)

    named = {placement["placement"]: placement for placement in listed.json()["placements"]}
    assert named["cheap"] == {
        "placement": "cheap",
        "logic": "trending",
        "fallbacks": ["personal"],
        "filter": "price < 50",
        "title": "Under 50",
    }
    assert refused.status_code == 403


async def test_says_what_stands_in_an_items_way(shop: Server) -> None:
    async def obstacles(**changes: object) -> list[str]:
        asked = {"visitor": "v", "n": 10, "missing": "mug"} | changes
        response = await shop.client.get("/v1/why-not", params=asked, headers=SECRET)
        return [found.get("rule", found["kind"]) for found in response.json().get("obstacles", [])]

    assert await obstacles() == []
    assert await obstacles(exclude="mug", filter="price > 10") == ["excluded", "filter"]
    assert await obstacles(filter="price > 10") == ["filter"]
    assert await obstacles(missing="nothing") == ["unknown"]
    await shop.put({"item_id": "mug", "price": 4.5, "availability": "out_of_stock"})
    assert await obstacles() == ["availability"]
    refused = await shop.client.get("/v1/why-not", params={"visitor": "v", "missing": "mug"}, headers=WRITE)
    assert refused.status_code == 403


async def test_an_explained_answer_names_its_rules(shop: Server) -> None:
    explained = (await _ask(shop, n=2, explain="true", exclude="mug", filter="price < 60")).json()

    assert {"excluded", "filter"} <= set(explained["rules"])
    assert "rules" not in (await _ask(shop, n=2)).json()
