"""Give a share of slots to items that hardly anybody has seen, and write down how likely each was to get its slot."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FLOOR = 0.2
"""A candidate that is like nothing the visitor saw is still this likely, against the likest one's 1."""


class Slots(NamedTuple):
    """An answer's items by slot, and how likely chance was to put just these there; None where it had no say."""

    item_ids: list[str]
    propensities: list[float | None]


_AHEAD = 32
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_STEP = 0x9E37_79B9_7F4A_7C15


class Draws:
    """Uniform numbers in [0, 1) out of a seed: the same seed gives the same ones on every machine."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK
        self._ahead: list[float] = []

    def next(self) -> float:
        """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), its upper 53 bits."""
        if not self._ahead:
            # As many as an answer needs at once: one by one, in Python, they cost 1 µs each.
            self._ahead = _uniforms(np.uint64(self._state), _AHEAD).tolist()
            self._state = (self._state + _AHEAD * _STEP) & _MASK
        return self._ahead.pop()


@njit(cache=True, nogil=True)
def _uniforms(state, count):  # type: ignore[no-untyped-def]
    """`count` numbers, the last first."""
    found = np.empty(count, np.float64)
    for i in range(count - 1, -1, -1):
        state += np.uint64(_STEP)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
        found[i] = np.float64((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return found


def seed_of(*parts: str | int) -> int:
    """64 bits out of what tells one request from another."""
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


def slot_chance(n: int, open_slots: int, *, share: float) -> float:
    """How likely each of `open_slots` is given away, so that of `n` slots `share` are on average."""
    return min(1.0, share * n / open_slots) if open_slots else 0.0


def with_new_items(
    item_ids: Sequence[str],
    open_slots: Sequence[int],
    candidates: Callable[[], tuple[Sequence[str], NDArray[np.float64]]],
    *,
    chance: float,
    seed: int,
) -> Slots:
    """Each open slot is given away with `chance`, to a candidate drawn by weight, none twice.

    A slot's propensity is that of its item given the slots above it: `chance` times the draw's probability for a new
    item, `1 - chance` for the one that stayed, 1 once no candidate is left. Sampling slot by slot, these are what
    inverse propensity weighting needs.

    Args:
        item_ids: the answer by slot; not modified.
        open_slots: places in it that may be given away, ascending.
        candidates: called only when a slot is given away; ids that are not in the answer, and weights, each > 0.
        chance: of each open slot.
        seed: of the draws.
    """
    found = list(item_ids)
    propensities: list[float | None] = [None] * len(found)
    if chance <= 0.0:
        return Slots(found, propensities)
    draws = Draws(seed)
    left: dict[str, float] | None = None
    for slot in open_slots:
        given = draws.next() < chance
        if given and left is None:
            ids, weights = candidates()
            left = dict(zip(ids, weights.tolist(), strict=True))
        if left is not None and not left:
            propensities[slot] = 1.0
        elif given and left is not None:
            total = sum(left.values())
            found[slot] = _draw(left, draws.next() * total)
            propensities[slot] = chance * left.pop(found[slot]) / total
        else:
            propensities[slot] = 1.0 - chance
    return Slots(found, propensities)


def weights_of(scores: Sequence[float]) -> NDArray[np.float64]:
    """Weights of a draw out of scores (0 where there is none): by score, with a floor for all."""
    found = np.array(scores, np.float64)
    best = found.max(initial=0.0)
    return found / best + _FLOOR if best > 0 else np.ones(len(found))


def _draw(weights: dict[str, float], mark: float) -> str:
    drawn = ""
    for drawn, weight in weights.items():  # noqa: B007 - the last one, where rounding leaves a rest
        mark -= weight
        if mark < 0.0:
            break
    return drawn


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    Draws(0).next()
