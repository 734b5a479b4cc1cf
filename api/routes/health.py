"""`/health/live`, `/health/ready`: is the process there, and may it be sent requests?"""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Check = Callable[[], Awaitable[bool]]
"""Is it well? Answers within a second, never raises."""


def health_routes(checks: Mapping[str, Check], *, required: frozenset[str]) -> list[Route]:
    """Build the routes. All `checks` are reported; ready needs those of `required`."""

    async def live(_: Request) -> Response:
        return Response(b'{"status":"live"}', media_type="application/json")

    async def ready(_: Request) -> Response:
        found = {name: await check() for name, check in checks.items()}
        is_ready = all(found[name] for name in required)
        body = orjson.dumps({"status": "ready" if is_ready else "not-ready", "checks": found})
        headers = {"Cache-Control": "no-store"}
        return Response(body, status_code=200 if is_ready else 503, headers=headers, media_type="application/json")

    return [Route("/health/live", live), Route("/health/ready", ready)]
