"""Clicks posted to a whole server."""

import json

from tests.integration.serving.serving_tools import SECRET, SHOP, WRITE, Server, event

DAY_MS = 86_400_000


async def test_takes_one_event(server: Server) -> None:
    response = await server.client.post("/v1/events", json=event(), headers=WRITE)

    assert response.status_code == 202
    assert response.json()["verdicts"] == [{"message_id": "0123456789abcdef", "status": "accepted"}]
    assert response.headers["cache-control"] == "no-store"


async def test_takes_a_beacon_with_its_key_in_the_address(server: Server) -> None:
    response = await server.client.post(
        f"/v1/events?key={WRITE['X-Afterclick-Key']}",
        content=json.dumps(event()),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": SHOP},
    )

    assert response.status_code == 202
    assert response.headers["access-control-allow-origin"] == SHOP


async def test_one_bad_event_does_not_sink_the_others(server: Server) -> None:
    batch = {"events": [event(), event(message_id="0123456789abcde0", event="buy")]}

    response = await server.client.post("/v1/events", json=batch, headers=WRITE)

    assert response.status_code == 202
    first, second = response.json()["verdicts"]
    assert first["status"] == "accepted"
    assert second["status"] == "rejected"
    assert "buy" in second["got"]


async def test_the_secret_key_lets_old_history_in(server: Server) -> None:
    old = event(timestamp=event()["timestamp"] - 30 * DAY_MS)

    with_write_key = await server.client.post("/v1/events", json=old, headers=WRITE)
    with_secret_key = await server.client.post("/v1/events", json=old, headers=SECRET)

    assert with_write_key.status_code == 422
    assert with_secret_key.status_code == 202


async def test_broken_json_is_refused(server: Server) -> None:
    response = await server.client.post(
        "/v1/events", content=b'{"event":', headers=WRITE | {"Content-Type": "application/json"}
    )

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_unasked_content_type_is_refused(server: Server) -> None:
    response = await server.client.post("/v1/events", content=b"<event/>", headers=WRITE | {"Content-Type": "text/xml"})

    assert response.status_code == 415
    assert response.json()["got"] == "text/xml"


async def test_ten_megabytes_are_refused_with_the_limit_named(server: Server) -> None:
    response = await server.client.post(
        "/v1/events", content=b" " * 10_000_000, headers=WRITE | {"Content-Type": "application/json"}
    )

    assert response.status_code == 413
    assert response.json()["wanted"] == "at most 500000 bytes"
    assert response.json()["got"] == "10000000 bytes"


async def test_a_killed_bus_is_a_503_that_says_when_to_come_back(server: Server) -> None:
    server.bus_server.kill()

    response = await server.client.post("/v1/events", json=event(), headers=WRITE)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["next_step"].startswith("send the same request again")
