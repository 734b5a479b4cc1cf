"""`GET|DELETE /v1/visitors/{visitor_id}`: a copy of what is known of someone, and its erasure. The secret key."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.privacy import Privacy
from api.routes.visitors import visitor_of

PATH = "/v1/visitors/{visitor_id}"
_HEADERS = {"Cache-Control": "private, no-store"}


def privacy_routes(privacy: Privacy, gate: Gate) -> list[Route]:
    """Build the routes around `privacy`."""

    async def export(request: Request) -> Response:
        return _answer(await privacy.export(visitor_of(request)))

    async def erase(request: Request) -> Response:
        return _answer(await privacy.erase(visitor_of(request)))

    return [
        Route(PATH, guarded(gate, "secret", export), methods=["GET"]),
        Route(PATH, guarded(gate, "secret", erase), methods=["DELETE"]),
    ]


def _answer(told: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(told), headers=_HEADERS, media_type="application/json")
