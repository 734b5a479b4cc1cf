"""`/metrics`: every process's numbers for Prometheus."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.metrics import METRICS_TYPE, exposition


def metrics_route(gate: Gate) -> Route:
    """Build the route; the secret key opens it."""

    async def metrics(_: Request) -> Response:
        # Reading every process's file takes some milliseconds; suggestions must not wait for it.
        return Response(await asyncio.to_thread(exposition), headers={"Content-Type": METRICS_TYPE})

    return Route("/metrics", guarded(gate, "secret", metrics))
