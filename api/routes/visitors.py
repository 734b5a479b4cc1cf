"""`GET /v1/visitors/{visitor_id}/recent`: what a visitor did last."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.edge import FIRST_BYTE
from api.errors import InvalidParameterError
from api.queries import query_from_string
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
    visitor: str = request.path_params["visitor_id"]
    if len(visitor) > VISITOR_CHARACTERS_MAX:
        raise InvalidParameterError(
            "invalid_parameter",
            wanted=f"`visitor_id`, 1 to {VISITOR_CHARACTERS_MAX} characters",
            got=f"{len(visitor)} characters",
            next_step="send the anonymous id as it is in the visitor's events",
        )
    return visitor
