"""`GET|POST /v1/recommendations`: what this visitor should see here, now."""

from collections.abc import Awaitable
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answer_json import encode_recommendations
from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.edge import FIRST_BYTE
from api.queries import query_from_body, query_from_string
from api.suggestions import RecommendationQuery, Recommendations
from recommender.requests import BUDGET_MS_MAX, N_MAX, Logic

PATH = "/v1/recommendations"

KNOWN = {
    "visitor": "the visitor's anonymous id, 1 to 128 characters",
    "placement": "where on the page, 1 to 64 characters",
    "n": f"a whole number of 1 to {N_MAX}",
    "item": "the page's own item id, 1 to 64 characters",
    "cart": "at most 200 item ids (in a query: separated by commas, or the parameter repeated)",
    "exclude": "at most 1000 item ids (in a query: separated by commas, or the parameter repeated)",
    "budget_ms": f"a whole number of milliseconds, 1 to {BUDGET_MS_MAX}",
    "explain": "true or false",
    "return_properties": "true or false",
    "logic": f"one of {', '.join(Logic)}",
    "category": "the page's own category, 1 to 256 characters",
    "diversity": "a number of 0 to 1",
    "page_view_id": "the page's own id, 1 to 64 characters",
    "segments": "at most 20 names (in a query: separated by commas, or the parameter repeated)",
    "included_properties": "names of product properties (in a query: separated by commas)",
}
"""What each parameter wants, in words; the only ones there are."""

LISTS = frozenset({"cart", "exclude", "included_properties", "segments"})
_HEADERS = {"Cache-Control": "private, no-store"}
_decoder = msgspec.json.Decoder(RecommendationQuery)


class Answer(Protocol):
    """Makes the answer."""

    def __call__(self, query: RecommendationQuery, *, first_byte_s: float) -> Awaitable[Recommendations]:
        """`first_byte_s`: `time.perf_counter` when the request reached us; its budget counts from there."""
        ...


def recommendations_route(answer: Answer, gate: Gate, *, bytes_max: int, discarded_bytes_max: int) -> Route:
    """Build the route around `answer`."""

    async def recommend(request: Request) -> Response:
        if request.method == "POST":
            require_media_type(request, "application/json", "text/plain")
            body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
            query = query_from_body(body, _decoder, known=KNOWN)
        else:
            query = query_from_string(request.scope["query_string"], RecommendationQuery, known=KNOWN, lists=LISTS)
        recommendations = await answer(query, first_byte_s=request.scope[FIRST_BYTE])
        return Response(encode_recommendations(recommendations), headers=_HEADERS, media_type="application/json")

    return Route(PATH, guarded(gate, "write", recommend), methods=["GET", "POST"])
