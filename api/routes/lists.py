"""`/v1/trending`, `/v1/items/{item_id}/similar`, `…/bought-together`: lists that are the same for every visitor."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answer_json import encode_items
from api.auth import Gate, guarded
from api.catalog_table import PROPERTIES
from api.queries import path_value, query_from_string
from api.question import Properties
from api.suggestions import Properties as ReadProperties
from api.suggestions import described
from recommender.history import EMPTY_HISTORY
from recommender.ranked import Rank
from recommender.requests import BUDGET_MS_DEFAULT, N_MAX, Logic, RecommendRequest, Suggestion

Similar = Callable[[str, int], Sequence[Suggestion]]
"""`similar(item_id, n)`: what goes with one item, best first; may be fewer than n."""

KNOWN = {
    "n": f"a whole number of 1 to {N_MAX}",
    "return_properties": "true or false",
    "included_properties": f"names of {', '.join(PROPERTIES)}, separated by commas",
}
ITEM_CHARACTERS_MAX = 64
LISTS = frozenset({"included_properties"})

# The same for everybody, so a shop's cache may hold it; as long as a trend takes to change.
_HEADERS = {"Cache-Control": "public, max-age=1"}
_NOBODY = "nobody"


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list may be asked."""

    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = 20
    return_properties: bool = False
    included_properties: Properties = ()


class ItemList(msgspec.Struct, frozen=True):
    """What a list answers, best first."""

    items: tuple[Suggestion, ...]


def list_routes(rank: Rank, similar: Similar, properties: ReadProperties, gate: Gate) -> list[Route]:
    """Build the routes around `rank` (asked without a history: what trends) and `similar`."""

    async def trending(request: Request) -> Response:
        query = _query_of(request)
        asked = RecommendRequest(visitor=_NOBODY, n=query.n)
        ranked = rank(asked, EMPTY_HISTORY, time.time_ns() // 1_000_000, BUDGET_MS_DEFAULT)
        return _answer(ranked.items, query)

    async def similar_items(request: Request) -> Response:
        query = _query_of(request)
        return _answer(similar(_item_of(request), query.n), query)

    async def bought_together(request: Request) -> Response:
        query = _query_of(request)
        item_id = _item_of(request)
        asked = RecommendRequest(
            visitor=_NOBODY, n=query.n, item=item_id, logic=Logic.COMPLEMENTARY, min_relevance="medium"
        )
        ranked = rank(asked, EMPTY_HISTORY, time.time_ns() // 1_000_000, BUDGET_MS_DEFAULT)
        return _answer(ranked.items, query)

    def _answer(items: Sequence[Suggestion], query: ListQuery) -> Response:
        shown = described(items, query.included_properties, properties) if query.return_properties else items
        return Response(encode_items(shown), headers=_HEADERS, media_type="application/json")

    return [
        Route("/v1/trending", guarded(gate, "write", trending)),
        Route("/v1/items/{item_id}/similar", guarded(gate, "write", similar_items)),
        Route("/v1/items/{item_id}/bought-together", guarded(gate, "write", bought_together)),
    ]


def _item_of(request: Request) -> str:
    return path_value(request, "item_id", characters_max=ITEM_CHARACTERS_MAX)


def _query_of(request: Request) -> ListQuery:
    return query_from_string(request.scope["query_string"], ListQuery, known=KNOWN, lists=LISTS)
