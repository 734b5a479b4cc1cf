"""The short way for busy routes answers as the long one does."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from api.errors import ApiError, InvalidParameterError
from api.express import Express
from api.problems import problem_response


async def _answer(request: Request) -> Response:
    if request.query_params.get("n") == "0":
        raise InvalidParameterError("invalid", wanted="n >= 1", got="0", next_step="ask for more")
    return PlainTextResponse(f"{request.method} {(await request.body()).decode()}")


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem_response(error, 422)


ROUTES = [Route("/busy", _answer, methods=["GET", "POST"]), Route("/calm", _answer)]
HANDLERS = {InvalidParameterError: _on_error}


@pytest.fixture(params=["express", "router"])
def client(request: pytest.FixtureRequest) -> TestClient:
    express = [Middleware(Express, routes=ROUTES[:1], on_error=_on_error)] if request.param == "express" else []
    return TestClient(Starlette(routes=ROUTES, middleware=express, exception_handlers=HANDLERS))  # type: ignore[arg-type]


def test_a_busy_route_is_answered_whatever_the_way(client: TestClient) -> None:
    assert client.get("/busy").text == "GET "
    assert client.post("/busy", content="body").text == "POST body"
    assert client.head("/busy").status_code == 200


def test_an_error_of_ours_is_answered_as_a_problem(client: TestClient) -> None:
    reply = client.get("/busy", params={"n": 0})

    assert (reply.status_code, reply.json()["wanted"]) == (422, "n >= 1")


def test_what_it_does_not_know_goes_on_to_the_router(client: TestClient) -> None:
    statuses = [client.get(path).status_code for path in ("/calm", "/nowhere", "/busy/")]

    assert [*statuses, client.put("/busy").status_code] == [200, 404, 200, 405]
