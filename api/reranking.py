"""`/v1/rerank`: a shop's own candidates in the order that suits one visitor, within the budget."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from api.budget import Deadline
from api.question import bad_expression
from api.visitors import Visitors
from recommender.errors import ExpressionError
from recommender.history import History
from recommender.placements import BoosterText, FilterText, PlacementName
from recommender.requests import BUDGET_MS_DEFAULT, BUDGET_MS_MAX, ItemId, RecommendRequest
from recommender.reranking import CANDIDATES_MAX, Order, Reranked

KNOWN = {
    "visitor": "the visitor's anonymous id, 1 to 128 characters",
    "items": f"1 to {CANDIDATES_MAX} item ids, the shop's best first",
    "placement": "where on the page, 1 to 64 characters",
    "item": "the page's own item id, 1 to 64 characters",
    "filter": "a condition, as `price < 50`",
    "booster": "a number, as `if margin > 0.4 then 1.5 else 1`",
    "budget_ms": f"a whole number of milliseconds, 1 to {BUDGET_MS_MAX}",
}

Rerank = Callable[[Sequence[str], RecommendRequest, History, int, float], Reranked]
"""`rerank(candidates, request, history, now_ms, time_left_ms)`: synchronous, no I/O."""


class RerankQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `/v1/rerank` may be asked. `items`: the shop's own candidates, its best first."""

    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    items: Annotated[tuple[ItemId, ...], msgspec.Meta(min_length=1, max_length=CANDIDATES_MAX)]
    placement: PlacementName = "search"
    item: ItemId | None = None
    filter: FilterText | None = None
    booster: BoosterText | None = None
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=BUDGET_MS_MAX)] = BUDGET_MS_DEFAULT


class RerankedItem(msgspec.Struct, frozen=True):
    """One candidate; score 0: no model has an opinion on it."""

    id: str
    score: float


class RerankAnswer(msgspec.Struct, frozen=True):
    """Every candidate once, but those that `filter` does not let pass; what cannot be bought now stands at the end.

    `order`: `blend`, or `given` where the visitor is unknown or no model has an opinion; `degraded` says why.
    """

    items: tuple[RerankedItem, ...]
    order: Order
    degraded: str | None
    model_version: str | None
    took_ms: float


class Reranking:
    """Composes the answer."""

    def __init__(self, visitors: Visitors, rerank: Rerank) -> None:
        self._visitors = visitors
        self._rerank = rerank

    async def __call__(self, query: RerankQuery, *, first_byte_s: float) -> RerankAnswer:
        """The candidates of `query`, in order.

        Raises:
            InvalidParameterError: a filter or booster that cannot be read.
            OverloadedError: too many requests, or the budget went by in the queue.
        """
        deadline = Deadline(first_byte_s, query.budget_ms)
        request = RecommendRequest(
            visitor=query.visitor,
            placement=query.placement,
            item=query.item,
            filters=(query.filter,) if query.filter is not None else (),
            boosters=(query.booster,) if query.booster is not None else (),
        )
        with self._visitors.admission:
            known = await self._visitors.read(query.visitor, deadline, query.budget_ms)
            now_ms = time.time_ns() // 1_000_000
            try:
                found = self._rerank(query.items, request, known.history, now_ms, deadline.left_ms())
            except ExpressionError as error:
                raise bad_expression(error) from error
        items = map(RerankedItem, found.item_ids, [round(score, 4) for score in found.scores])
        degraded = found.degraded if known.answered else "store-unavailable"
        return RerankAnswer(tuple(items), found.order, degraded, found.model_version, round(deadline.took_ms(), 2))
