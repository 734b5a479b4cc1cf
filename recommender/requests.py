"""What is asked of the recommender and what it answers, free of HTTP."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from recommender.history import History

N_MAX = 200
BUDGET_MS_DEFAULT = 200
BUDGET_MS_MAX = 1000

Rung = Literal["blend", "neighbours", "trending", "popular", "none"]
"""The ladder, dearest first; "none" answers an empty shop."""


class RecommendRequest(msgspec.Struct, frozen=True):
    """One call for suggestions, decoded and checked.

    `item`: the page's own item, taken as the visitor's newest event even while its click is in flight.
    `exclude`, `cart`: item ids never to be suggested.
    """

    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    placement: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "home"
    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = 20
    item: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    cart: Annotated[tuple[str, ...], msgspec.Meta(max_length=200)] = ()
    exclude: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=BUDGET_MS_MAX)] = BUDGET_MS_DEFAULT
    explain: bool = False
    return_properties: bool = False


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an item is there: "because you viewed `item`"."""

    because: str
    item: str | None = None


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One suggested item; `properties` are the catalogue's, when asked for."""

    id: str
    score: float
    reasons: tuple[Reason, ...] = ()
    properties: dict[str, Any] | None = None


class Ranked(msgspec.Struct, frozen=True):
    """What the recommender answers; the API adds id, placement and time to it.

    `degraded`: None, or why a cheaper rung answered ("budget", "store-unavailable", "no-model", "no-history",
        "no-data").
    """

    items: tuple[Suggestion, ...]
    served_by: Rung
    degraded: str | None
    model_version: str | None


Eligible = Callable[[str], bool]
"""May this item id be suggested now? The catalogue's word: unknown items are eligible, unavailable ones are not."""

Rank = Callable[[RecommendRequest, History, int, float], Ranked]
"""`rank(request, history, now_ms, time_left_ms)`: synchronous, no I/O, within `time_left_ms` by choosing its rung."""
