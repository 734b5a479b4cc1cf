"""A new fit is served only while it foretells visitors no worse than the one before it, on the very same events."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from recommender.incremental import LearningIals
from recommender.online_score import Asked, foretold
from recommender.ranker.trees import Trees

Verdict = Literal["worse", "fine", "unknown"]

_ERRORS = 3.0
_LOSS_MIN = 0.02


class Judged(NamedTuple):
    """`targets`: on how many events; `before`, `after`: hit rates of the fit that was there and of the new one."""

    verdict: Verdict
    targets: int
    before: float
    after: float


def judge(before: Sequence[bool], after: Sequence[bool], *, targets_min: int) -> Judged:
    """Worse: three standard errors of the paired difference, and at least two points of hit rate."""
    count = len(before)
    if count < max(2, targets_min):
        return Judged("unknown", count, 0.0, 0.0)
    was, new = np.array(before, np.float64), np.array(after, np.float64)
    difference = new - was
    error = float(difference.std(ddof=1)) / np.sqrt(count)
    loss = -float(difference.mean())
    worse = loss >= _LOSS_MIN and loss > _ERRORS * error
    return Judged("worse" if worse else "fine", count, float(was.mean()), float(new.mean()))


class Trial:
    """A fit that is served, and the one before it, which stands still beside it until enough has been foretold."""

    def __init__(self, before: LearningIals, total: int) -> None:
        self.before = before
        self.total = total
        """How many interactions `before` has learnt."""
        self.trees: Trees | None = None
        """The ranker that was served with it."""
        self._was: list[bool] = []
        self._new: list[bool] = []
        self._asked_until = total

    def look(self, asked: Sequence[Asked], *, targets_min: int) -> Judged:
        """Judge by what was asked since: `asked` are the served fit's, oldest first."""
        for each in asked:
            if each.at >= self._asked_until:
                self._was.append(foretold(self.before, each.prefix, each.label))
                self._new.append(each.by_ials)
        if asked:
            self._asked_until = max(self._asked_until, asked[-1].at + 1)
        return judge(self._was, self._new, targets_min=targets_min)
