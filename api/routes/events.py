"""`POST /v1/events`: clicks in, one or a batch; the collector judges, this only carries."""

import time
from collections.abc import Awaitable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate
from api.bodies import read_body
from ingest.verdicts import CollectorReply

PATH = "/v1/events"


class Accept(Protocol):
    """The collector's front door."""

    def __call__(
        self, body: bytes, *, content_type: str, received_at_ms: int, privileged: bool
    ) -> Awaitable[CollectorReply]:
        """Judge one request; `privileged`: it came with the secret key."""
        ...


def events_route(accept: Accept, gate: Gate, *, bytes_max: int, discarded_bytes_max: int) -> Route:
    """Build the route around the collector. The secret key also lets old history in."""

    async def events(request: Request) -> Response:
        role = gate.require(request, "write")
        received_at_ms = time.time_ns() // 1_000_000
        body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
        reply = await accept(
            body,
            content_type=request.headers.get("content-type", ""),
            received_at_ms=received_at_ms,
            privileged=role == "secret",
        )
        return reply_response(reply)

    return Route(PATH, events, methods=["POST"])


def reply_response(reply: CollectorReply) -> Response:
    """The collector's reply over HTTP."""
    headers = {"Cache-Control": "no-store"}
    if reply.retry_after_s is not None:
        headers["Retry-After"] = str(reply.retry_after_s)
    return Response(reply.json(), status_code=reply.status, headers=headers, media_type=reply.content_type)
