"""The outermost layer: stamp the first byte, count the answer, and let no unforeseen error out."""

import time
import traceback
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError
from api.metrics import REQUEST_SECONDS, REQUESTS, UNEXPECTED
from api.problems import problem_response

FIRST_BYTE = "afterclick.first_byte_s"
"""Key of the ASGI scope: `time.perf_counter()` when the request reached us."""

log = structlog.get_logger()


class Edge:
    """ASGI middleware.

    Args:
        routes: path template by endpoint, so that a label never holds an id.
    """

    def __init__(self, app: ASGIApp, *, routes: Mapping[Any, str]) -> None:
        self._app = app
        self._routes = routes
        # Looking a label up costs a lock and a hash of strings; there are few of them.
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._timers: dict[str, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        first_byte_s = scope.setdefault(FIRST_BYTE, time.perf_counter())
        status = 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception as error:  # the composition's edge: counted, logged without the query string, answered
            route = self._route_of(scope)
            UNEXPECTED.labels(type(error).__name__).inc()
            _log_unexpected(error, route, scope["method"])
            if status == 0:
                await problem_response(_unexpected(), 500)(scope, receive, send_counted)
        finally:
            self._count(self._route_of(scope), scope["method"], status, time.perf_counter() - first_byte_s)

    def _route_of(self, scope: Scope) -> str:
        return self._routes.get(scope.get("endpoint"), "unknown")

    def _count(self, route: str, method: str, status: int, seconds: float) -> None:
        if method not in {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}:
            method = "other"
        key = (route, method, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = REQUESTS.labels(route, method, str(status))
        counter.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = REQUEST_SECONDS.labels(route)
        timer.observe(seconds)


def _log_unexpected(error: Exception, route: str, method: str) -> None:
    """Type and places only: a message may quote a visitor's id, and a pretty traceback prints locals, the query string
    with its key among them.
    """
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("unexpected error", type=type(error).__name__, route=route, method=method, places=places)


def _unexpected() -> ApiError:
    return ApiError(
        "unexpected_error",
        wanted="an answer",
        got="an error nobody foresaw; it is counted and logged",
        next_step="send the request again; if it fails again, look for `unexpected error` in the server's log",
    )
