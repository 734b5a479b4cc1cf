"""`GET /v1/earnings`: what suggestions earned."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.earnings import Earnings, EarningsQuery
from api.queries import query_from_string
from recommender.earned import BY

PATH = "/v1/earnings"
KNOWN = {
    "by": f"one of {', '.join(BY)}",
    "from_ms": "Unix milliseconds",
    "until_ms": "Unix milliseconds",
}


def earnings_route(earnings: Earnings, gate: Gate) -> Route:
    """Build the route; the secret key opens it."""

    async def look(request: Request) -> Response:
        query = query_from_string(request.scope["query_string"], EarningsQuery, known=KNOWN)
        body = msgspec.json.encode(await earnings.look(query))
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    return Route(PATH, guarded(gate, "secret", look), methods=["GET"])
