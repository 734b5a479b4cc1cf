"""`GET /v1/why-not`: what stands in an item's way into an answer."""

from collections.abc import Awaitable
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.edge import FIRST_BYTE
from api.queries import query_from_string
from api.question import KNOWN as KNOWN_QUESTION
from api.question import LISTS, RecommendationQuery
from recommender.requests import ItemId
from recommender.why_not import WhyNot

PATH = "/v1/why-not"
KNOWN = {**KNOWN_QUESTION, "missing": "the id of the item that is missed, 1 to 64 characters"}

_HEADERS = {"Cache-Control": "private, no-store"}


class WhyNotQuery(RecommendationQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question as `/v1/recommendations` takes it, and the item that is missed in its answer."""

    missing: ItemId


class AskWhyNot(Protocol):
    """Looks for what stands in an item's way."""

    def __call__(self, missing: str, query: RecommendationQuery, *, first_byte_s: float) -> Awaitable[WhyNot]:
        """`first_byte_s`: `time.perf_counter` when the request reached us."""
        ...


def why_not_route(why_not: AskWhyNot, gate: Gate) -> Route:
    """Build the route around `why_not`."""

    async def get_why_not(request: Request) -> Response:
        query = query_from_string(request.scope["query_string"], WhyNotQuery, known=KNOWN, lists=LISTS)
        told = await why_not(query.missing, query, first_byte_s=request.scope[FIRST_BYTE])
        return Response(msgspec.json.encode(told), headers=_HEADERS, media_type="application/json")

    return Route(PATH, guarded(gate, "secret", get_why_not), methods=["GET"])
