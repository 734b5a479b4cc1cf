"""`POST /v1/rerank`: a search result or a category page in this visitor's order."""

from collections.abc import Awaitable
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.edge import FIRST_BYTE
from api.queries import query_from_body
from api.reranking import KNOWN, RerankAnswer, RerankQuery

PATH = "/v1/rerank"
BODY_BYTES_MAX = 524_288
_decoder = msgspec.json.Decoder(RerankQuery)


class RerankCall(Protocol):
    """Makes the answer."""

    def __call__(self, query: RerankQuery, *, first_byte_s: float) -> Awaitable[RerankAnswer]:
        """`first_byte_s`: `time.perf_counter` when the request reached us; its budget counts from there."""
        ...


def rerank_route(rerank: RerankCall, gate: Gate, *, discarded_bytes_max: int) -> Route:
    """Build the route around `rerank`."""

    async def post_rerank(request: Request) -> Response:
        require_media_type(request, "application/json", "text/plain")
        body = await read_body(request, bytes_max=BODY_BYTES_MAX, discarded_bytes_max=discarded_bytes_max)
        answer = await rerank(query_from_body(body, _decoder, known=KNOWN), first_byte_s=request.scope[FIRST_BYTE])
        headers = {"Cache-Control": "private, no-store"}
        return Response(msgspec.json.encode(answer), headers=headers, media_type="application/json")

    return Route(PATH, guarded(gate, "write", post_rerank), methods=["POST"])
