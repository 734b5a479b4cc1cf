"""What nobody foresaw, at the outermost layer."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.edge import Edge
from api.metrics import UNEXPECTED


async def _broken(_: Request) -> Response:
    raise ZeroDivisionError("the visitor was anna")


async def test_an_unforeseen_error_is_a_problem_without_its_details(capsys: pytest.CaptureFixture[str]) -> None:
    app = Starlette(routes=[Route("/broken", _broken)], middleware=[Middleware(Edge, routes={_broken: "/broken"})])
    before = UNEXPECTED.labels("ZeroDivisionError")._value.get()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as client:
        response = await client.get("/broken?key=wk_do_not_log")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "anna" not in response.text
    assert "Traceback" not in response.text
    assert UNEXPECTED.labels("ZeroDivisionError")._value.get() == before + 1
    logged = capsys.readouterr()
    assert "ZeroDivisionError" in logged.out
    assert "test_edge_errors.py" in logged.out
    assert "wk_do_not_log" not in logged.out + logged.err
    assert "anna" not in logged.out + logged.err
