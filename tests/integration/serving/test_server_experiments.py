"""A running experiment in the answers: who gets what, and what the click on it says."""

import asyncio
import time
from collections import Counter

import pytest

from ingest.archive import run_archive
from ingest.archive_reader import archived_positions
from ingest.attribution import Attributor, Names
from ingest.events import Event, decode_event
from ingest.identity import visitor_key
from ingest.recommendation_token import TokenCodec
from ingest.settings import ArchiveSettings, Settings
from ingest.topics import EVENTS
from recommender.experiments import Experiment, Variant, assigned_variant
from tests.integration.serving.serving_tools import KEYS, SECRET, WRITE, Server, event

ITEMS = [{"item_id": f"item-{number}"} for number in range(30)]
EXPERIMENT = {
    "id": "e",
    "status": "running",
    "placements": ["home"],
    "holdout": 0.2,
    "variants": [{"name": "control", "share": 0.5}, {"name": "diverse", "share": 0.5, "diversity": 0.5}],
}
ASK = {"placement": "home", "budget_ms": 1_000, "n": 5}


async def _run(server: Server, **changes: object) -> None:
    body = {"id": "e", "document": EXPERIMENT | changes}
    assert (await server.client.post("/v1/experiments", json=body, headers=SECRET)).status_code == 200


async def test_each_browser_is_told_its_variant_and_keeps_it(server: Server) -> None:
    await server.put(*ITEMS)
    await _run(server)
    experiment = Experiment("e", (Variant("control", 0.5), Variant("diverse", 0.5)), holdout=0.2)

    for number in range(12):
        visitor = f"browser-{number}"
        answer = await server.client.get("/v1/recommendations", params=ASK | {"visitor": visitor}, headers=WRITE)
        key = visitor_key(visitor, secret=KEYS.visitor_secret_bytes)
        assert answer.json()["experiment"] == {"id": "e", "variant": assigned_variant(experiment, key)}
        assert len(answer.json()["items"]) == 5


async def test_elsewhere_and_in_a_draft_there_is_no_experiment(server: Server) -> None:
    await server.put(*ITEMS)
    await _run(server, status="draft")

    drafted = await server.client.get("/v1/recommendations", params=ASK | {"visitor": "v"}, headers=WRITE)

    assert drafted.json()["experiment"] is None


async def test_a_click_carries_what_it_was_served_and_a_forged_one_nothing(server: Server) -> None:
    await server.put(*ITEMS)
    await _run(server)
    asked = await server.client.get("/v1/recommendations", params=ASK | {"visitor": "browser-1"}, headers=WRITE)
    answer = asked.json()
    clicked = [{"item_id": answer["items"][0]["id"]}]
    before_ms = time.time_ns() // 1_000_000 - 60_000

    posted = [
        event(
            message_id="click-genuine",
            event="select_item",
            items=clicked,
            recommendation_id=answer["recommendation_id"],
        ),
        event(message_id="click-made-up", event="select_item", items=clicked, recommendation_id="A" * 80),
    ]
    reply = await server.client.post("/v1/events", json=posted, headers=WRITE)

    assert reply.status_code == 202
    genuine, made_up = [await _published(server, name) for name in ("click-genuine", "click-made-up")]
    assert genuine.attribution is not None
    assert genuine.attribution.placement == "home"
    assert genuine.attribution.variant == f"e/{answer['experiment']['variant']}"
    assert genuine.attribution.served_ms > before_ms
    assert made_up.attribution is None


async def test_an_interleaved_answer_holds_both_variants_items(server: Server) -> None:
    await server.put(*ITEMS)
    variants = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "logic": "recent"}]
    await _run(server, holdout=0, method="interleaving", variants=variants)
    for number in (27, 28, 29):
        seen = event(message_id=f"view-{number:06d}", items=[{"item_id": f"item-{number}"}])
        await server.client.post("/v1/events", json=seen, headers=WRITE)

    asked = await server.client.get("/v1/recommendations", params=ASK | {"visitor": "browser-1"}, headers=WRITE)

    answer = asked.json()
    token = TokenCodec(KEYS.visitor_secret_bytes).read(answer["recommendation_id"])
    assert answer["experiment"] == {"id": "e", "variant": "interleaved"}
    assert len({item["id"] for item in answer["items"]}) == 5
    assert len(token.teams) == 5
    assert set(token.teams) == {0, 1}


async def test_the_token_of_an_answer_is_read_by_every_installation_with_the_same_keys(server: Server) -> None:
    await server.put(*ITEMS)
    asked = await server.client.get("/v1/recommendations", params=ASK | {"visitor": "browser-1"}, headers=WRITE)
    token = TokenCodec(KEYS.visitor_secret_bytes).read(asked.json()["recommendation_id"])

    assert all(token.holds(item["id"]) for item in asked.json()["items"])
    assert token.is_of(visitor_key("browser-1", secret=KEYS.visitor_secret_bytes))
    assert (
        Attributor(TokenCodec(b"another-secret-00"), Names()).attribute(
            asked.json()["recommendation_id"], (), visitor_key=b"", time_ms=0
        )
        is None
    )


async def _published(server: Server, message_id: str) -> Event:
    for partition in range(await server.bus.partitions(EVENTS)):
        async for delivery in server.bus.read(EVENTS, partition, until_now=True):
            for entry in delivery.entries:
                found = decode_event(entry.payload or b"")
                if found.message_id == message_id:
                    return found
    raise AssertionError(f"wanted {message_id} on the topic")


async def test_a_report_is_counted_from_the_archive(server: Server) -> None:
    await server.put(*ITEMS)
    await _run(server, holdout=0)
    shown: Counter[str] = Counter()
    for number in range(12):
        visitor = f"browser-{number}"
        asked = await server.client.get("/v1/recommendations", params=ASK | {"visitor": visitor}, headers=WRITE)
        answer = asked.json()
        shown[answer["experiment"]["variant"]] += 1
        seen = event(
            message_id=f"seen-{number:06d}",
            event="view_item_list",
            anonymous_id=visitor,
            items=[{"item_id": item["id"]} for item in answer["items"]],
            recommendation_id=answer["recommendation_id"],
        )
        assert (await server.client.post("/v1/events", json=seen, headers=WRITE)).status_code == 202
    await _archive(server)

    report = (await server.client.get("/v1/experiments/e/report", headers=SECRET)).json()

    assert {variant["variant"]: variant["visitors"] for variant in report["variants"]} == shown
    assert report["variants"][1]["comparisons"][0]["difference"] is None
    unknown = await server.client.get("/v1/experiments/none/report", headers=SECRET)
    assert unknown.status_code == 404


async def test_a_forecast_rests_on_what_was_shown_and_on_real_visitors_pages(server: Server) -> None:
    await server.put(*ITEMS)
    pin = {"rule_id": "pin", "consequence": "pin", "items": ["item-29"]}
    body = {"placement": "home", "rules": [pin], "pages": 50}
    early = await server.client.post("/v1/rules/forecast", json=body, headers=SECRET)
    for number in range(60):
        visitor = f"browser-{number}"
        asked = await server.client.get(
            "/v1/recommendations", params=ASK | {"visitor": visitor, "n": 20}, headers=WRITE
        )
        answer = asked.json()
        shown = {"anonymous_id": visitor, "recommendation_id": answer["recommendation_id"]}
        items = [{"item_id": item["id"]} for item in answer["items"]]
        seen = [event(message_id=f"seen-{number:06d}", event="view_item_list", items=items, **shown)]
        if number % 2:
            seen.append(event(message_id=f"click-{number:05d}", event="select_item", items=items[:1], **shown))
        assert (await server.client.post("/v1/events", json=seen, headers=WRITE)).status_code == 202
    await _archive(server)

    found = (await server.client.post("/v1/rules/forecast", json=body, headers=SECRET)).json()

    assert early.status_code == 409
    assert "0 showings" in early.json()["got"]
    assert found["method"] == "click-model"
    assert (found["pages"], found["changed"], found["shown"]) == (50, 50, 1_200)
    assert found["clicks_before"] == pytest.approx(500, rel=0.2)
    assert found["gained_low"] <= found["gained"] <= found["gained_high"]
    # Whoever clicked, clicked the first; something never clicked in its place earns less.
    assert found["gained"] < 0
    earned = (await server.client.get("/v1/earnings", headers=SECRET)).json()["groups"]
    assert earned == [{"key": "home", "shown": 1_200, "clicked": 30, "added": 0, "sold": 0, "revenue": 0.0}]
    assert (await server.client.get("/v1/earnings?by=weather", headers=SECRET)).status_code == 422


async def _archive(server: Server) -> None:
    """Everything on `events` into the archive, as the archive's own process does it."""
    stop = asyncio.Event()
    archiving = asyncio.create_task(
        run_archive(server.bus, Settings(archive=ArchiveSettings(flush_ms=50)), server.archive, stop)
    )
    ends = {
        partition: delivery.last
        for partition in range(await server.bus.partitions(EVENTS))
        async for delivery in server.bus.read(EVENTS, partition, until_now=True)
    }
    async with asyncio.timeout(30):
        while not server.archive.exists() or archived_positions(server.archive) != ends:
            await asyncio.sleep(0.05)
    stop.set()
    await archiving
