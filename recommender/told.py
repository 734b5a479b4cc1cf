"""What the models said for one answer: every list, and of the ranker every candidate, as the kernels found it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.models.protocol import Rows, Scored, Scores

LISTS = ("session-knn", "transitions", "ials", "own-session")
"""The models that servers ask, in the order of the lists."""


class Candidates(NamedTuple):
    """The ranker's: shapes (c,), (len(FEATURES), c) and (c,)."""

    rows: Rows
    features: NDArray[np.float32]
    margins: NDArray[np.float64]


class Told(NamedTuple):
    """One list's making.

    Attributes:
        answer: the list.
        below: the rows that come next.
        lists: one per name of `LISTS`, best first.
        weights: shape (lists,), what each counts in the blend for a session of this length.
        ranked: None: the blend answered.
    """

    answer: Scored
    below: Rows
    lists: tuple[Scored, ...]
    weights: Scores
    ranked: Candidates | None = None
