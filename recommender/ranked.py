"""What the recommender answers, free of HTTP."""

from typing import Protocol

import msgspec

from recommender.history import History
from recommender.kept_answer import KeptAnswer
from recommender.requests import Exploration, RecommendRequest, Rung, Suggestion


class Ranked(msgspec.Struct, frozen=True):
    """What the recommender answers; the API adds id, placement and time to it.

    `degraded`: None, or why another list answered than the logic's own ("budget", "load", "store-unavailable",
        "no-model", "no-history", "fallback", "no-data").
    `rules`: every rule that took part, the shop's by their ids.
    `kept`: what it was made of, where the request asked to keep it.
    """

    items: tuple[Suggestion, ...]
    served_by: Rung
    degraded: str | None
    model_version: str | None
    rules: tuple[str, ...] = ()
    exploration: Exploration | None = None
    kept: KeptAnswer | None = None


class Rank(Protocol):
    """Answers a request: synchronous, no I/O, within `time_left_ms` by choosing its rung."""

    def __call__(
        self, request: RecommendRequest, history: History, now_ms: int, time_left_ms: float, *, waiting: int = 1
    ) -> Ranked:
        """`waiting`: requests that this process has to answer by now, this one among them."""
        ...
