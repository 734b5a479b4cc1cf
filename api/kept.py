"""Which answers are kept whole, and what was kept of one: told for a person, and made into the answer again."""

import zlib
from typing import Any

import msgspec

from api.answers import ServedAnswer
from recommender.answered_again import answered_again
from recommender.experiments import team_draft
from recommender.kept_answer import KeptAnswer
from recommender.kept_plainly import told_plainly

_SAME_WITHIN = 1e-6
"""Of a score: the log writes scores in full, so it is rounding alone that could part the two."""


class Again(msgspec.Struct, frozen=True):
    """The answer as it is made of what was kept. `same`: it is what was served, items and scores."""

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    same: bool


class Whole(msgspec.Struct, frozen=True):
    """What an answer was made of. `lists`: in the order in which they filled it; of a drafted one, both variants'."""

    seen: list[dict[str, Any]]
    lists: list[dict[str, Any]]
    pins: dict[int, str]
    new_items: dict[int, str]
    diversity: float
    again: Again


def is_kept(visitor_key: bytes, time_ms: int, *, share: float) -> bool:
    """Is an answer of that visitor and time in the share that is kept? The same everywhere, now and later."""
    return zlib.crc32(time_ms.to_bytes(8, "little"), zlib.crc32(visitor_key)) < share * 2**32


def whole(answer: ServedAnswer) -> Whole:
    """What was kept; `answer.kept` is not empty."""
    first = answer.kept[0]
    seen = zip(first.seen.item_ids, first.seen.kinds, first.seen.times_ms, strict=True)
    return Whole(
        [{"item_id": item_id, "kind": kind, "time_ms": time_ms} for item_id, kind, time_ms in seen],
        [told_plainly(each) for kept in answer.kept for each in kept.lists],
        first.pins,
        first.new_items,
        first.diversity,
        again(answer),
    )


def again(answer: ServedAnswer) -> Again:
    """Make the answer once more, of what was kept of it alone."""
    item_ids, scores = _answered(answer.kept, seed=answer.time_ms)
    close = len(scores) == len(answer.scores) and all(
        abs(one - other) <= _SAME_WITHIN * max(1.0, abs(other))
        for one, other in zip(scores, answer.scores, strict=True)
    )
    return Again(tuple(item_ids), tuple(scores), same=close and tuple(item_ids) == answer.item_ids)


def _answered(kept: tuple[KeptAnswer, ...], *, seed: int) -> tuple[list[str], list[float]]:
    lists = [answered_again(each) for each in kept]
    if len(lists) == 1:
        return lists[0]
    scores = [dict(zip(*each, strict=True)) for each in lists]
    draft = team_draft(lists[0][0], lists[1][0], len(lists[0][0]), seed=seed)
    return list(draft.item_ids), [
        scores[team][item_id] for item_id, team in zip(draft.item_ids, draft.teams, strict=True)
    ]
