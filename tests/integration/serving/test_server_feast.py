"""Feast's two endpoints on a whole server: values, statuses and times of features; events pushed as columns."""

import time
from typing import Any

from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from tests.integration.serving.serving_tools import SECRET, WRITE, Server
from tests.integration.windows.windows_tools import eventually, working

FEATURES = ["visitor:view_1h", "visitor:since_purchase_ms", "visitor:event_items"]


async def ask(server: Server, features: list[str], **entities: list[Any]) -> dict[str, Any]:
    body = {"features": features, "entities": entities}
    response = await server.client.post("/get-online-features", json=body, headers=SECRET)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_events_pushed_as_columns_are_answered_as_features(server: Server) -> None:
    now_ms = time.time_ns() // 1_000_000
    pushed = {
        "push_source_name": "events",
        "df": {
            "message_id": ["push-0001", "push-0002", "push-0003", "push-0003"],
            "event": ["view_item", "view_item", "purchase", "purchase"],
            "anonymous_id": ["ann", "ann", "bob", "bob"],
            "event_timestamp": [now_ms - 3_000, now_ms - 2_000, now_ms - 1_000, now_ms - 1_000],
            "item_id": ["mug", "hat", "mug", "tie"],
            "price": [2.5, None, 2.5, 9.0],
        },
        "to": "online",
    }
    store = OnlineStore(server.store_server.url)
    async with working(server.bus, store, WorkerSettings()):
        response = await server.client.post("/push", json=pushed, headers=SECRET)
        assert (response.status_code, response.json()["accepted"]) == (202, 3)

        async def arrived() -> bool:
            found = await ask(server, ["visitor:event_items"], visitor=["ann", "bob"])
            return [len(items_of) for items_of in found["results"][1]["values"]] == [2, 2]

        await eventually(arrived, "the worker to take the events in")
        visitors = await ask(server, FEATURES, visitor=["ann", "bob", "nobody"])
        items = await ask(server, ["item:view_1h", "item:purchase_24h"], item=["mug", "no such item"])
    await store.close()

    assert visitors["metadata"]["feature_names"] == ["visitor", "view_1h", "since_purchase_ms", "event_items"]
    own, views, since, listed = visitors["results"]
    assert own["values"] == ["ann", "bob", "nobody"]
    assert views["values"] == [2, 0, 0]
    assert views["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
    assert since["statuses"] == ["NULL_VALUE", "PRESENT", "NOT_FOUND"]
    # Items of one event come in the order of their ids' hashes.
    assert [sorted(items_of) for items_of in listed["values"]] == [["hat", "mug"], ["mug", "tie"], []]
    assert views["event_timestamps"][0] > views["event_timestamps"][2] == "1970-01-01T00:00:00.000Z"
    assert [column["values"] for column in items["results"]] == [["mug", "no such item"], [1, 0], [1, 0]]
    assert items["results"][1]["statuses"] == ["PRESENT", "NOT_FOUND"]


async def test_what_cannot_be_answered_is_refused_by_name(server: Server) -> None:
    async def refused(path: str, body: dict[str, Any]) -> str:
        response = await server.client.post(path, json=body, headers=SECRET)
        assert response.status_code == 422, response.text
        return str(response.json()["got"])

    path = "/get-online-features"
    assert "visitor:no_such" in await refused(path, {"features": ["visitor:no_such"], "entities": {"visitor": ["a"]}})
    assert await refused(path, {"features": FEATURES, "entities": {"item": ["a"]}}) == "item"
    both = {"features": ["visitor:view_1h", "item:view_1h"], "entities": {"visitor": ["a"]}}
    assert "item, visitor" in await refused(path, both)
    assert "drivers" in await refused("/push", {"push_source_name": "drivers", "df": {"message_id": ["a"]}})
    unequal = {"message_id": ["a", "b"], "event": ["view_item"]}
    assert "event, message_id" in await refused("/push", {"push_source_name": "events", "df": unequal})


async def test_features_are_nothing_for_a_page(server: Server) -> None:
    body = {"features": FEATURES, "entities": {"visitor": ["ann"]}}

    response = await server.client.post("/get-online-features", json=body, headers=WRITE)

    assert response.status_code == 403
