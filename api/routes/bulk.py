"""`POST /v1/recommendations/bulk`: many questions in, one a line; as many answers out, streamed."""

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.bulk import Bulk
from api.routes.catalog import LINES_TYPES

PATH = "/v1/recommendations/bulk"


def bulk_route(bulk: Bulk, gate: Gate, *, bytes_max: int, discarded_bytes_max: int) -> Route:
    """Build the route around `bulk`."""

    async def post_bulk(request: Request) -> Response:
        require_media_type(request, *LINES_TYPES)
        body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
        headers = {"Cache-Control": "private, no-store"}
        return StreamingResponse(bulk.open(body), headers=headers, media_type="application/x-ndjson")

    return Route(PATH, guarded(gate, "secret", post_bulk), methods=["POST"])
