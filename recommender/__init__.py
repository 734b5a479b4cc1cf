"""Numbers become an ordered list: what is asked of the recommender, what it answers, and its settings.

The heavy parts are imported by name, so that a process that needs only the vocabulary does not load numba:
`recommender.recommender.Recommender`, `recommender.model_follower.ModelFollower`, `recommender.learner.run_learner`.
"""

from recommender.errors import DeltaRefusedError, RecommenderError, SnapshotRefusedError
from recommender.history import EMPTY_HISTORY, History
from recommender.ranked import Ranked
from recommender.requests import Logic, Reason, RecommendRequest, Suggestion
from recommender.settings import LearnerSettings, RecommenderSettings

__all__ = [
    "EMPTY_HISTORY",
    "DeltaRefusedError",
    "History",
    "LearnerSettings",
    "Logic",
    "Ranked",
    "Reason",
    "RecommendRequest",
    "RecommenderError",
    "RecommenderSettings",
    "SnapshotRefusedError",
    "Suggestion",
]
