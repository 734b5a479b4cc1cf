"""`GET|POST /v1/recommendations`: what this visitor should see here, now; `…/{id}/next`: and then."""

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
from api.question import KNOWN, LISTS, RecommendationQuery
from api.suggestions import Recommendations

PATH = "/v1/recommendations"
NEXT_PATH = PATH + "/{recommendation_id}/next"

_HEADERS = {"Cache-Control": "private, no-store"}
_decoder = msgspec.json.Decoder(RecommendationQuery)


class Answer(Protocol):
    """Makes the answer."""

    def __call__(self, query: RecommendationQuery, *, first_byte_s: float) -> Awaitable[Recommendations]:
        """`first_byte_s`: `time.perf_counter` when the request reached us; its budget counts from there."""
        ...


class Follow(Protocol):
    """Goes on from an answer."""

    def __call__(
        self, recommendation_id: str, query: RecommendationQuery, *, first_byte_s: float
    ) -> Awaitable[Recommendations]:
        """What comes after the answer with that id."""
        ...


def recommendations_routes(
    answer: Answer, follow: Follow, gate: Gate, *, bytes_max: int, discarded_bytes_max: int
) -> list[Route]:
    """Build the routes around `answer` and `follow`."""

    async def asked(request: Request) -> RecommendationQuery:
        if request.method == "POST":
            require_media_type(request, "application/json", "text/plain")
            body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
            return query_from_body(body, _decoder, known=KNOWN)
        return query_from_string(request.scope["query_string"], RecommendationQuery, known=KNOWN, lists=LISTS)

    async def recommend(request: Request) -> Response:
        recommendations = await answer(await asked(request), first_byte_s=request.scope[FIRST_BYTE])
        return Response(encode_recommendations(recommendations), headers=_HEADERS, media_type="application/json")

    async def recommend_next(request: Request) -> Response:
        query = await asked(request)
        recommendation_id = request.path_params["recommendation_id"]
        recommendations = await follow(recommendation_id, query, first_byte_s=request.scope[FIRST_BYTE])
        return Response(encode_recommendations(recommendations), headers=_HEADERS, media_type="application/json")

    return [
        Route(PATH, guarded(gate, "write", recommend), methods=["GET", "POST"]),
        Route(NEXT_PATH, guarded(gate, "write", recommend_next), methods=["GET", "POST"]),
    ]
