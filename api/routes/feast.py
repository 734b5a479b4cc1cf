"""`POST /get-online-features, /push`: what Feast's feature server answers, for what speaks to one already."""

import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate
from api.bodies import read_body, require_media_type
from api.feast_shapes import KNOWN_FEATURES, KNOWN_PUSH, FeastShapes, FeaturesQuery, PushQuery, pushed_events
from api.queries import query_from_body
from api.routes.events import Accept, reply_response

FEATURES_PATH = "/get-online-features"
PUSH_PATH = "/push"
_HEADERS = {"Cache-Control": "private, no-store"}

_features_decoder = msgspec.json.Decoder(FeaturesQuery)
_push_decoder = msgspec.json.Decoder(PushQuery)
_encoder = msgspec.json.Encoder()


def feast_routes(
    shapes: FeastShapes, accept: Accept, gate: Gate, *, bytes_max: int, discarded_bytes_max: int
) -> list[Route]:
    """Build the routes around `shapes` and the collector's `accept`. The secret key: values are a visitor's history."""

    async def body_of(request: Request) -> bytes:
        gate.require(request, "secret")
        require_media_type(request, "application/json")
        return await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)

    async def get_online_features(request: Request) -> Response:
        query = query_from_body(await body_of(request), _features_decoder, known=KNOWN_FEATURES)
        answer = await shapes.features(query)
        return Response(_encoder.encode(answer), headers=_HEADERS, media_type="application/json")

    async def push(request: Request) -> Response:
        received_at_ms = time.time_ns() // 1_000_000
        events = pushed_events(query_from_body(await body_of(request), _push_decoder, known=KNOWN_PUSH))
        body = _encoder.encode({"events": events})
        reply = await accept(body, content_type="application/json", received_at_ms=received_at_ms, privileged=True)
        return reply_response(reply)

    return [
        Route(FEATURES_PATH, get_online_features, methods=["POST"]),
        Route(PUSH_PATH, push, methods=["POST"]),
    ]
