"""Keys, origins, unknown paths, health and metrics of a whole server."""

import pytest

from tests.integration.serving.serving_tools import SECRET, SHOP, WRITE, Server, event

ASK = {"visitor": "v", "placement": "home"}


@pytest.mark.parametrize("headers", [{}, {"X-Afterclick-Key": "wk_wrong"}, {"Authorization": "Bearer wk_wrong"}])
async def test_a_wrong_or_missing_key_opens_nothing(server: Server, headers: dict[str, str]) -> None:
    answers = [
        await server.client.get("/v1/recommendations", params=ASK, headers=headers),
        await server.client.post("/v1/events", json=event(), headers=headers),
        await server.client.post("/v1/catalog", json=[], headers=headers),
        await server.client.get("/metrics", headers=headers),
    ]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "wk_wrong" not in answer.text


async def test_the_write_key_does_not_open_what_is_secret(server: Server) -> None:
    response = await server.client.post("/v1/catalog", json=[{"item_id": "mug"}], headers=WRITE)

    assert response.status_code == 403
    assert response.json()["wanted"] == "the secret key"
    assert len(server.catalog) == 0


async def test_an_allowed_origin_may_send_its_key_and_json(server: Server) -> None:
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-afterclick-key, content-type",
    }

    response = await server.client.options("/v1/events", headers=asked)

    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == SHOP
    assert response.headers["access-control-max-age"] == "3600"
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-afterclick-key"))


async def test_another_origin_is_told_which_are_allowed(server: Server) -> None:
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}

    preflight = await server.client.options("/v1/recommendations", headers=asked)
    answer = await server.client.get("/v1/recommendations", params=ASK, headers=WRITE | asked)

    assert preflight.status_code == 403
    assert SHOP in preflight.json()["wanted"]
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_may_read_why_it_was_refused(server: Server) -> None:
    response = await server.client.get("/v1/recommendations", params=ASK, headers={"Origin": SHOP})

    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == SHOP


async def test_what_is_secret_is_closed_to_every_page(server: Server) -> None:
    response = await server.client.get("/metrics", headers=SECRET | {"Origin": SHOP})

    assert "access-control-allow-origin" not in response.headers


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(server: Server) -> None:
    unknown = await server.client.get("/v1/recommendation", headers=WRITE)
    wrong = await server.client.delete("/v1/events", headers=WRITE)

    assert (unknown.status_code, unknown.json()["got"]) == (404, "/v1/recommendation")
    assert (wrong.status_code, wrong.json()["got"]) == (405, "DELETE")
    assert wrong.headers["allow"] == "POST"


async def test_metrics_count_requests_by_route(server: Server) -> None:
    await server.client.get("/v1/recommendations", params=ASK, headers=WRITE)

    text = (await server.client.get("/metrics", headers=SECRET)).text

    assert 'afterclick_api_requests_total{method="GET",route="/v1/recommendations",status="200"}' in text
    assert "afterclick_api_recommendations_total{" in text


async def test_the_snippet_is_anybodys_and_is_not_sent_twice(server: Server) -> None:
    first = await server.client.get("/snippet.js")
    second = await server.client.get("/snippet.js", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["content-type"].startswith("text/javascript")
    assert "max-age" in first.headers["cache-control"]
    assert second.status_code == 304
    assert second.content == b""


async def test_readiness_ends_when_draining_begins(server: Server) -> None:
    before = await server.client.get("/health/ready")
    server.app.state.drain()
    after = await server.client.get("/health/ready")
    answered = await server.client.get("/v1/recommendations", params=ASK, headers=WRITE)

    assert (before.status_code, after.status_code) == (200, 503)
    assert answered.status_code == 200
    assert (await server.client.get("/health/live")).status_code == 200
