"""Let chance order the last slots of a few answers, and know exactly how likely each place was for each item.

Without chance nobody can say later what another order would have earned. The order is drawn by Plackett and Luce over
the model's own places, not its scores: an item `rank` places down (from 0) has the weight `exp(-rank / temperature)`.
So the chance of any rank to stand in any slot depends on how many slots there are and on nothing else, and is a table.
"""

import functools
import math
import random
from collections.abc import Collection
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.requests import Exploration, RecommendRequest

SLOTS_MAX = 8
_SLOTS_MIN = 2

_explored = Counter("afterclick_recommender_answers_explored_total", "Answers whose last slots chance has ordered")


class Shuffle(NamedTuple):
    """How much is left to chance.

    Attributes:
        share: of the answers, 0 to 1.
        slots: how many of the last slots, at most half of an answer; fewer than 2 are left alone.
        temperature: > 0; near 0 nothing moves, above 10 every order is about as likely.
    """

    share: float
    slots: int
    temperature: float


class Drawn(NamedTuple):
    """What chance did: `places`: shape (n,), by slot where its item stood before; `propensities`: by slot."""

    exploration: Exploration
    places: list[int]
    propensities: list[float | None]


def draw_slots(
    request: RecommendRequest, now_ms: int, *, n: int, fixed: Collection[int], shuffle: Shuffle
) -> Drawn | None:
    """A new order of the last slots of an answer of `n`; None for all but a share of the requests.

    The draw is a function of the request and its time: the same again gives the same again.

    Args:
        fixed: slots (from 0) whose items stay, such as pins.
    """
    wanted = min(shuffle.slots, SLOTS_MAX, n // 2)
    if wanted < _SLOTS_MIN or shuffle.share <= 0.0:
        return None
    digest = _digest(request, now_ms)
    if int.from_bytes(digest[:8], "little") >= shuffle.share * 2.0**64:
        return None
    slots = tuple(slot for slot in range(n // 2, n) if slot not in fixed)[-wanted:]
    if len(slots) < _SLOTS_MIN:
        return None
    ranks = draw_order(len(slots), shuffle.temperature, random.Random(digest[8:]))
    chances = slot_chances(len(slots), shuffle.temperature)
    propensities: list[float | None] = [None] * n
    for place, (slot, rank) in enumerate(zip(slots, ranks, strict=True)):
        propensities[slot] = float(chances[rank, place])
    _explored.inc()
    exploration = Exploration(slots, ranks)
    return Drawn(exploration, places_of(exploration, n), propensities)


def places_of(exploration: Exploration, n: int) -> list[int]:
    """By slot of an answer of `n`, where its item stood before chance ordered some."""
    places = list(range(n))
    for slot, rank in zip(exploration.slots, exploration.ranks, strict=True):
        places[slot] = exploration.slots[rank]
    return places


def draw_order(slots: int, temperature: float, chance: random.Random) -> tuple[int, ...]:
    """The ranks by slot: the order of `-rank / temperature` with Gumbel noise is a draw by Plackett and Luce."""
    noisy = [-rank / temperature - math.log(-math.log(chance.random() or 0.5)) for rank in range(slots)]
    return tuple(sorted(range(slots), key=lambda rank: -noisy[rank]))


@functools.lru_cache(maxsize=64)
def slot_chances(slots: int, temperature: float) -> NDArray[np.float64]:
    """Shape (slots, slots): how likely the item of a rank (row) is to be drawn into a slot (column); read-only.

    Exact, over all sets that may have been drawn before: each row and each column sums to 1.
    """
    weights = np.exp(-np.arange(slots) / temperature)
    reached = np.zeros(1 << slots)
    reached[0] = 1.0
    chances = np.zeros((slots, slots))
    for drawn in range((1 << slots) - 1):
        left = [rank for rank in range(slots) if not drawn >> rank & 1]
        each = reached[drawn] * weights[left] / weights[left].sum()
        chances[left, slots - len(left)] += each
        for rank, likely in zip(left, each.tolist(), strict=True):
            reached[drawn | 1 << rank] += likely
    chances.flags.writeable = False
    return chances


def _digest(request: RecommendRequest, now_ms: int) -> bytes:
    told = f"{request.visitor}\0{request.placement}\0{request.item}\0{request.n}\0{now_ms}"
    return blake2b(told.encode(), digest_size=24).digest()
