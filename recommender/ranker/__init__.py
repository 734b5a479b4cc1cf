"""Order the models' candidates by boosted trees: features, trees, fit and the model that serves them."""

from recommender.ranker.attributions import Attributions, attribute
from recommender.ranker.features import FEATURES, Candidates
from recommender.ranker.model import RankedModels, Ranker
from recommender.ranker.trees import Trees, from_arrays, to_arrays

__all__ = [
    "FEATURES",
    "Attributions",
    "Candidates",
    "RankedModels",
    "Ranker",
    "Trees",
    "attribute",
    "from_arrays",
    "to_arrays",
]
