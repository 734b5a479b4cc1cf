"""Answers that are sent are sent within their budget, whatever is done to the process that makes them."""

import asyncio
import gc
from typing import Any

import httpx

from tests.integration.serving.serving_tools import WRITE, Server

ITEMS = [{"item_id": f"item-{number}", "price": number + 1.0} for number in range(200)]


async def _ask(server: Server, budget_ms: int) -> httpx.Response:
    asked = {"visitor": "browser-1", "budget_ms": budget_ms, "n": 20}
    return await server.client.get("/v1/recommendations", params=asked, headers=WRITE)


def _keeps_its_word(response: httpx.Response, budget_ms: int) -> bool:
    answer: dict[str, Any] = response.json()
    if response.status_code == 503:
        return int(response.headers["retry-after"]) >= 1 and "budget" in answer["got"]
    return response.status_code == 200 and answer["took_ms"] <= budget_ms


async def test_full_collections_delay_no_answer_beyond_its_budget(server: Server) -> None:
    await server.put(*ITEMS)
    # What is frozen at start would not be walked; here it is, and some more.
    gc.unfreeze()
    ballast = [{"number": number} for number in range(200_000)]

    async def collect() -> None:
        for _ in range(10):
            await asyncio.sleep(0.02)
            gc.collect()

    collecting = asyncio.create_task(collect())
    answers = [(budget_ms, await _ask(server, budget_ms)) for _ in range(40) for budget_ms in (20, 100, 1_000)]
    await collecting

    assert len(ballast) == 200_000
    assert all(_keeps_its_word(response, budget_ms) for budget_ms, response in answers)
    assert any(response.status_code == 200 for _, response in answers)


async def test_a_budget_too_short_for_anything_is_refused_and_not_overdrawn(server: Server) -> None:
    await server.put(*ITEMS)

    answers = [await _ask(server, 1) for _ in range(100)]

    assert all(_keeps_its_word(response, 1) for response in answers)
