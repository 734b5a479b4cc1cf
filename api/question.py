"""What `/v1/recommendations` may be asked, and the recommender's request that it becomes."""

from typing import Annotated

import msgspec

from api.catalog_table import PROPERTIES, Property
from api.errors import InvalidParameterError
from recommender.errors import ExpressionError
from recommender.filters import EXPRESSION_CHARACTERS_MAX
from recommender.placements import BoosterText, FilterText, Placement, PlacementName, Placements
from recommender.requests import (
    BUDGET_MS_DEFAULT,
    BUDGET_MS_MAX,
    N_MAX,
    ItemId,
    Logic,
    MinRelevance,
    RecommendRequest,
)

ROTATION_S_DEFAULT = 7_200.0

Properties = Annotated[tuple[Property, ...], msgspec.Meta(max_length=len(PROPERTIES))]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]


class RecommendationQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `/v1/recommendations` may be asked; names follow Recombee's where it has one.

    Attributes:
        item: the page's own: taken as the visitor's newest event even while its click is in flight.
        budget_ms: counted from the request's first byte.
        filter, booster: expressions over the catalogue; see docs/filters.md.
        rotation_rate: how much of its score an item loses that this visitor was just shown.
        rotation_time: seconds until it has recovered.
        included_properties: which facts `return_properties` gives.
    """

    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    placement: PlacementName = "home"
    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] | None = None
    item: ItemId | None = None
    cart: Annotated[tuple[str, ...], msgspec.Meta(max_length=200)] = ()
    exclude: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=BUDGET_MS_MAX)] = BUDGET_MS_DEFAULT
    explain: bool = False
    logic: Logic | None = None
    category: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    page_view_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    segments: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=20)] = ()
    filter: FilterText | None = None
    booster: BoosterText | None = None
    diversity: Unit | None = None
    min_relevance: MinRelevance = "low"
    rotation_rate: Unit = 0.0
    rotation_time: Annotated[float, msgspec.Meta(gt=0, le=604_800)] = ROTATION_S_DEFAULT
    return_properties: bool = False
    included_properties: Properties = ()


KNOWN = {
    "visitor": "the visitor's anonymous id, 1 to 128 characters",
    "placement": "where on the page, 1 to 64 characters",
    "n": f"a whole number of 1 to {N_MAX}",
    "item": "the page's own item id, 1 to 64 characters",
    "cart": "at most 200 item ids (in a query: separated by commas, or the parameter repeated)",
    "exclude": "at most 1000 item ids (in a query: separated by commas, or the parameter repeated)",
    "budget_ms": f"a whole number of milliseconds, 1 to {BUDGET_MS_MAX}",
    "explain": "true or false",
    "logic": f"one of {', '.join(Logic)}",
    "category": "the page's own category, 1 to 256 characters",
    "page_view_id": "the page's own id, 1 to 64 characters",
    "segments": "at most 20 names (in a query: separated by commas, or the parameter repeated)",
    "filter": f"a condition of 1 to {EXPRESSION_CHARACTERS_MAX} characters, as `price < 50`",
    "booster": f"a number of 1 to {EXPRESSION_CHARACTERS_MAX} characters, as `if margin > 0.4 then 1.5 else 1`",
    "diversity": "a number of 0 to 1",
    "min_relevance": "low, medium or high",
    "rotation_rate": "a number of 0 to 1",
    "rotation_time": "seconds, above 0 and at most 604800",
    "return_properties": "true or false",
    "included_properties": f"names of {', '.join(PROPERTIES)} (in a query: separated by commas)",
}
"""What each parameter wants, in words; the only ones there are."""

LISTS = frozenset({"cart", "exclude", "included_properties", "segments"})


def request_of(
    query: RecommendationQuery,
    placement: Placement,
    *,
    worn: dict[str, float],
    shown_before: tuple[str, ...],
    keep: bool = False,
) -> RecommendRequest:
    """What the recommender is asked: the query, and where it does not say, its placement.

    `keep`: write down what the answer is made of.
    """
    return RecommendRequest(
        visitor=query.visitor,
        placement=query.placement,
        n=query.n or placement.n,
        item=query.item,
        cart=query.cart,
        exclude=query.exclude + shown_before,
        budget_ms=query.budget_ms,
        explain=query.explain,
        logic=query.logic or placement.logic,
        category=query.category,
        diversity=query.diversity if query.diversity is not None else placement.diversity,
        page_view_id=query.page_view_id,
        segments=query.segments,
        fallbacks=placement.fallbacks,
        filters=_both(placement.filter, query.filter),
        boosters=_both(placement.booster, query.booster),
        min_relevance=query.min_relevance,
        worn=worn,
        keep=keep,
    )


def placement_of(name: str, placements: Placements) -> Placement:
    """Raises InvalidParameterError: there is no such placement."""
    placement = placements.get(name)
    if placement is None:
        raise InvalidParameterError(
            "unknown_placement",
            wanted=f"a placement of {', '.join(placements)}",
            got=name,
            next_step="ask for one of these, or add yours to placements in the section [api] of the settings",
        )
    return placement


def bad_expression(error: ExpressionError) -> InvalidParameterError:
    """An expression that cannot be read, as a client is told."""
    return InvalidParameterError(
        "bad_expression",
        wanted=f"`{error.parameter}`, column {error.column}: {error.wanted}",
        got=error.got,
        next_step=error.next_step,
        extensions={"parameter": error.parameter, "column": error.column},
    )


def _both(first: str | None, second: str | None) -> tuple[str, ...]:
    return tuple(text for text in (first, second) if text is not None)
