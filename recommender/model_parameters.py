"""The parameters of every model of a version, as they travel in its snapshot."""

import msgspec

from recommender.blend import BlendParameters
from recommender.models.bought_together import BoughtTogetherParameters
from recommender.models.buy_again import BuyAgainParameters
from recommender.models.ials import IalsParameters
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.settings import LearnerSettings


class PopularityParameters(msgspec.Struct, frozen=True):
    """Half-lives of the slow and the fast count."""

    half_life_ms: int = 604_800_000
    trend_half_life_ms: int = 7_200_000


class ModelParameters(msgspec.Struct, frozen=True):
    """What a replica must know to answer as the learner would."""

    popularity: PopularityParameters = PopularityParameters()
    transitions: TransitionParameters = TransitionParameters()
    session_knn: SessionKnnParameters = SessionKnnParameters()
    ials: IalsParameters = IalsParameters()
    blend: BlendParameters = BlendParameters()
    bought_together: BoughtTogetherParameters = BoughtTogetherParameters()
    buy_again: BuyAgainParameters = BuyAgainParameters()


def parameters_of(settings: LearnerSettings) -> ModelParameters:
    """The parameters a learner with these settings begins a version with."""
    return ModelParameters(
        popularity=PopularityParameters(settings.popularity_half_life_ms, settings.trend_half_life_ms),
        session_knn=SessionKnnParameters(sessions_max=settings.sessions_max, postings_max=8 * settings.sessions_max),
        ials=IalsParameters(
            factors=settings.factors,
            alpha=settings.alpha,
            regularization=settings.regularization,
            iterations=settings.iterations,
        ),
    )
