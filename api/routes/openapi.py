"""`/openapi.json`: what may be asked, and how; anybody may read it."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def openapi_route(document: dict[str, Any]) -> Route:
    """Build the route around the document, encoded once."""
    body = orjson.dumps(document)
    # Tools of the developer's own browser may load it from any page; it says nothing of this installation.
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}

    async def openapi(_: Request) -> Response:
        return Response(body, headers=headers, media_type="application/json")

    return Route("/openapi.json", openapi)
