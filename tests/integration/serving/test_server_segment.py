"""Segment's shapes, posted to a whole server."""

from base64 import b64encode
from typing import Any

import httpx

from ingest.events import decode_event
from ingest.identity import visitor_key
from ingest.topics import EVENTS
from tests.integration.serving.serving_tools import KEYS, WRITE, Server

# As analytics-python 2.3 sends it.
BATCH: dict[str, Any] = {
    "batch": [
        {
            "type": "track",
            "event": "Product Added",
            "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
            "anonymousId": "browser-1",
            "properties": {"product_id": 507, "name": "Mug", "price": "18.99", "quantity": 1, "cart_id": "c1"},
        },
        {"type": "track", "event": "Signed Up", "messageId": "signed-up-1", "anonymousId": "browser-1"},
        {"type": "identify", "messageId": "identify-1", "anonymousId": "browser-1", "userId": "u1", "traits": {}},
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "m" * 90,
            "userId": "u1",
            "anonymousId": "browser-1",
            "properties": {
                "order_id": "o1",
                "total": 40.5,
                "currency": "EUR",
                "products": [{"product_id": "507", "quantity": 2, "price": 18.99}, {"sku": "pot"}],
            },
        },
        {"type": "page", "name": "Home", "messageId": "page-0001", "anonymousId": "browser-1"},
    ],
    "sentAt": "2026-01-01T00:00:00.000Z",
}


def _fresh(batch: dict[str, Any]) -> dict[str, Any]:
    """Without the times, which a collector holds against its own clock."""
    return {name: value for name, value in batch.items() if name != "sentAt"}


async def _post(server: Server, call: str, body: object) -> httpx.Response:
    return await server.client.post(f"/v1/{call}", json=body, headers=WRITE)


async def test_a_batch_becomes_events_and_what_is_no_shops_is_dropped_kindly(server: Server) -> None:
    response = await _post(server, "batch", _fresh(BATCH))

    answer = response.json()
    assert (response.status_code, answer["accepted"], answer["rejected"]) == (202, 5, 0)
    assert [verdict.get("code") for verdict in answer["verdicts"]] == [None, "not_kept", None, None, None]
    found = await _events(server)
    events = {event.event: event for event in found}
    assert set(events) == {"add_to_cart", "identify", "purchase", "page_view"}
    assert events["add_to_cart"].items[0].item_id == "507"
    assert events["add_to_cart"].items[0].price == 18.99
    assert [item.item_id for item in events["purchase"].items] == ["507", "pot"]
    assert (events["purchase"].value, events["purchase"].currency) == (40.5, "EUR")
    assert len(events["purchase"].message_id) == 32
    identified = {event.visitor_key for event in found if event.event == "identify"}
    assert visitor_key("browser-1", secret=KEYS.visitor_secret_bytes).hex() in identified


async def test_one_message_has_a_path_of_its_own(server: Server) -> None:
    track = {"event": "Product Viewed", "anonymousId": "b", "messageId": "track-001", "properties": {"sku": "mug"}}
    alias = {"previousId": "b", "userId": "u1", "messageId": "alias-001"}

    responses = [await _post(server, "track", track), await _post(server, "alias", alias)]

    assert [response.status_code for response in responses] == [202, 202]
    assert {event.event for event in await _events(server)} == {"view_item", "identify"}


async def test_the_write_key_may_come_as_segments_libraries_send_it(server: Server) -> None:
    page = {"anonymousId": "b", "messageId": "page-0001"}
    basic = b64encode(f"{KEYS.write_key}:".encode()).decode()

    allowed = await server.client.post("/v1/page", json=page, headers={"Authorization": f"Basic {basic}"})
    refused = await server.client.post("/v1/page", json=page, headers={"Authorization": "Basic %%%"})

    assert (allowed.status_code, refused.status_code) == (202, 401)


async def test_what_is_no_message_is_refused(server: Server) -> None:
    headers = WRITE | {"Content-Type": "application/json"}
    broken = await server.client.post("/v1/track", content=b"{", headers=headers)
    empty = await _post(server, "batch", {"batch": []})
    untyped = await _post(server, "batch", {"batch": [{"event": "Product Viewed"}]})
    without_item = await _post(server, "track", {"event": "Product Viewed", "anonymousId": "b"})

    assert [r.status_code for r in (broken, empty, untyped, without_item)] == [400, 422, 422, 422]
    assert "track" in untyped.json()["wanted"]


async def _events(server: Server) -> list[Any]:
    found = []
    for partition in range(2):
        async for delivery in server.bus.read(EVENTS, partition, until_now=True):
            found += [decode_event(entry.payload) for entry in delivery.entries if entry.payload]
    return found
