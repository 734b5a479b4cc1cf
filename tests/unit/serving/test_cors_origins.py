"""Which origins a browser may call from."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api.cors import Cors
from api.settings import ApiSettings


def _client(*allowed: str) -> httpx.AsyncClient:
    origins = ApiSettings(allowed_origins=allowed).origins
    routes = [Route(path, lambda _: PlainTextResponse("yes")) for path in ("/v1/events", "/v1/eventsofothers")]
    cors = Middleware(Cors, origins=origins, preflight_max_age_s=60)
    transport = httpx.ASGITransport(Starlette(routes=routes, middleware=[cors]))
    return httpx.AsyncClient(transport=transport, base_url="http://api.test")


@pytest.mark.parametrize(
    ("allowed", "origin", "is_let_in"),
    [
        ("https://shop.example", "https://shop.example", True),
        ("https://shop.example/", "https://shop.example", True),
        ("*", "https://anybody.example", True),
        ("https://shop.example", "http://shop.example", False),
        ("https://shop.example", "https://shop.example.evil.example", False),
        ("https://shop.example", "null", False),
    ],
)
async def test_an_origin_is_compared_whole(allowed: str, origin: str, is_let_in: bool) -> None:
    response = await _client(allowed).get("/v1/events", headers={"Origin": origin})

    assert response.headers.get("access-control-allow-origin") == (origin if is_let_in else None)
    assert response.headers["vary"] == "Origin"


async def test_another_path_is_left_alone() -> None:
    response = await _client("*").get("/v1/eventsofothers", headers={"Origin": "https://shop.example"})

    assert "access-control-allow-origin" not in response.headers


def test_origins_may_come_from_one_variable() -> None:
    settings = ApiSettings(allowed_origins="https://a.example, https://b.example/")

    assert settings.origins == {"https://a.example", "https://b.example"}
