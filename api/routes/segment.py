"""`POST /v1/batch, /v1/track, /v1/page, /v1/screen, /v1/identify, /v1/alias`: for what speaks Segment already."""

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate
from api.bodies import read_body, require_media_type
from api.routes.events import reply_response
from api.segment import SegmentDoor

CALLS = ("batch", "track", "page", "screen", "identify", "alias")


def path_of(call: str) -> str:
    """Where a call is made."""
    return f"/v1/{call}"


def segment_routes(door: SegmentDoor, gate: Gate, *, bytes_max: int, discarded_bytes_max: int) -> list[Route]:
    """Build the routes around `door`."""

    def route(call: str) -> Route:
        async def post_call(request: Request) -> Response:
            role = gate.require(request, "write")
            received_at_ms = time.time_ns() // 1_000_000
            require_media_type(request, "application/json", "text/plain")
            body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
            reply = await door(body, call=call, received_at_ms=received_at_ms, privileged=role == "secret")
            return reply_response(reply)

        return Route(path_of(call), post_call, methods=["POST"])

    return [route(call) for call in CALLS]
