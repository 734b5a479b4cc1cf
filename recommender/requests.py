"""What is asked of the recommender and what it answers, free of HTTP."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

N_MAX = 200
N_DEFAULT = 20
BUDGET_MS_DEFAULT = 200
BUDGET_MS_MAX = 1000

Rung = Literal[
    "ranker",
    "blend",
    "related",
    "bought-together",
    "recent",
    "buy-again",
    "alike",
    "neighbours",
    "trending",
    "popular",
    "none",
]
"""The list an item came from; "none" answers an empty shop. Ladder: ranker, blend, neighbours, trending, popular."""


class Logic(StrEnum):
    """How to choose: which lists are asked, and which stand in for them."""

    RELATED = "related"
    COMPLEMENTARY = "complementary"
    PERSONAL = "personal"
    TRENDING = "trending"
    RECENT = "recent"
    BUY_AGAIN = "buy-again"


MinRelevance = Literal["low", "medium", "high"]
"""What an answer is filled up with: anything; only lists that know the visitor or the page's item; only the best of
those."""


ItemId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class RecommendRequest(msgspec.Struct, frozen=True):
    """One call for suggestions, decoded and checked.

    `item`: the page's own item, taken as the visitor's newest event even while its click is in flight.
    `exclude`, `cart`: item ids never to be suggested.
    `logic`: None: the placement's; `personal` where it has none.
    `category`: the page's own category; None: that of `item`.
    `diversity`: 0 ranks by score alone, 1 by unlikeness of categories alone; None: the placement's.
    `page_view_id`: placements asked for with the same one show no item twice.
    `segments`: what the shop calls this kind of visitor, for its rules.
    `fallbacks`: asked in order for what `logic` leaves empty.
    `filters`: an item must pass all of them. `boosters`: its score is multiplied by each; see `recommender.filters`.
    `worn`: item id to what is left of its score, for those this visitor was shown lately.
    `keep`: write down what the answer is made of.
    """

    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    placement: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "home"
    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = N_DEFAULT
    item: ItemId | None = None
    cart: Annotated[tuple[str, ...], msgspec.Meta(max_length=200)] = ()
    exclude: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=BUDGET_MS_MAX)] = BUDGET_MS_DEFAULT
    explain: bool = False
    return_properties: bool = False
    logic: Logic | None = None
    category: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    diversity: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    page_view_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    segments: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=20)] = ()
    fallbacks: tuple[Logic, ...] = ()
    filters: tuple[str, ...] = ()
    boosters: tuple[str, ...] = ()
    min_relevance: MinRelevance = "low"
    worn: dict[str, float] = {}
    keep: bool = False


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an item is there: "because you viewed `item`"; for what a rule did, its name.

    `share`: what it adds to the item's score; None for what a rule did, and for a feature.
    `feature`, `weight`: because it was "ranked": a feature the ranker looks at, and its Shapley value in the log-odds.
    """

    because: str
    item: str | None = None
    rule: str | None = None
    share: float | None = None
    feature: str | None = None
    weight: float | None = None


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One suggested item.

    `properties`: the catalogue's, when asked for.
    `propensity`: how likely chance was to put just this item into just this slot; None where chance had no say.
    """

    id: str
    score: float
    reasons: tuple[Reason, ...] = ()
    properties: dict[str, Any] | None = None
    propensity: float | None = None


class Exploration(msgspec.Struct, frozen=True):
    """Slots whose order chance drew: `slots` (0-based, ascending) and by slot the place its item had among them."""

    slots: tuple[int, ...]
    ranks: tuple[int, ...]


Eligible = Callable[[str], bool]
"""May this item id be suggested now? The catalogue's word: unknown items are eligible, unavailable ones are not."""
