"""Why an item is not in an answer: everything that stands in its way, in the order in which it would have to go."""

from typing import Literal

import msgspec

ABOVE_TOLD_MAX = 20
RANKED_MAX = 100
"""How far down an item is looked for; the lists of the blend are this long whatever an answer wants."""


class Above(msgspec.Struct, frozen=True):
    """An item that stands above, and its score."""

    id: str
    score: float


class Obstacle(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing in the way.

    Attributes:
        kind: `unknown`: neither model nor catalogue has heard of it. `rule`: `rule` keeps it out. `outranked`: it would
            stand in slot `rank`, and not so many were asked for.
        rule: `availability`, `price-zero`, `excluded-category`, `page-item`, `excluded`, `in-cart`, `bought`,
            `shown-on-page`, `filter`, or the id of a rule of the shop.
        rank: from 1; None when `RANKED_MAX` others stand above.
        score: its own there.
        above: the first `ABOVE_TOLD_MAX` of those above it.
    """

    kind: Literal["unknown", "rule", "outranked"]
    rule: str | None = None
    rank: int | None = None
    score: float | None = None
    above: tuple[Above, ...] = ()


class WhyNot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why `id` is not shown. Take the first obstacle away, and the rest are what then stands in its way.

    `slot`: where it stands, from 1, when nothing is in its way.
    """

    id: str
    obstacles: tuple[Obstacle, ...] = ()
    slot: int | None = None


def outranked(item_id: str, ids: list[str], scores: list[float], n: int) -> tuple[Obstacle | None, int | None]:
    """Told from a ranking longer than `n`: an obstacle, or None and the item's slot."""
    above = tuple(Above(other, score) for other, score in zip(ids[:ABOVE_TOLD_MAX], scores, strict=False))
    if item_id not in ids:
        return Obstacle("outranked", above=above), None
    place = ids.index(item_id)
    if place < n:
        return None, place + 1
    return Obstacle("outranked", rank=place + 1, score=scores[place], above=above[:place]), None
