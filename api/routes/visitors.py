"""`GET /v1/visitors/{visitor_id}/recent`: what a visitor did last."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.edge import FIRST_BYTE
from api.queries import path_value, query_from_string
from api.recent_items import KNOWN, LISTS, Recent, RecentQuery

PATH = "/v1/visitors/{visitor_id}/recent"
VISITOR_CHARACTERS_MAX = 128


def recent_route(recent: Recent, gate: Gate) -> Route:
    """Build the route around `recent`. The secret key: a raw history is nothing for a page to ask."""

    async def get_recent(request: Request) -> Response:
        visitor = visitor_of(request)
        query = query_from_string(request.scope["query_string"], RecentQuery, known=KNOWN, lists=LISTS)
        answer = await recent(visitor, query, first_byte_s=request.scope[FIRST_BYTE])
        headers = {"Cache-Control": "private, no-store"}
        return Response(msgspec.json.encode(answer), headers=headers, media_type="application/json")

    return Route(PATH, guarded(gate, "secret", get_recent), methods=["GET"])


def visitor_of(request: Request) -> str:
    """Raises InvalidParameterError: longer than an id may be."""
    return path_value(request, "visitor_id", characters_max=VISITOR_CHARACTERS_MAX)
