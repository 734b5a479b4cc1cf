"""What was kept of an answer, as numbers again and for a person to read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.kept_answer import KeptList, KeptModels
from recommender.ranker.features import FEATURES
from recommender.told import LISTS


def numbers(kept: bytes) -> NDArray[np.float32]:
    """The array again; shape (n,)."""
    return np.frombuffer(kept, "<f4").astype(np.float32)


def margins_of(models: KeptModels) -> NDArray[np.float64]:
    """The trees' log-odds of every candidate again; shape (candidates,), or empty."""
    return np.frombuffer(models.margins, "<f8").astype(np.float64)


def told_plainly(kept: KeptList) -> dict[str, Any]:
    """A list for a person to read: of each candidate what every model, the trees and the policy said."""
    models = kept.models
    ids = models.item_ids if models is not None else kept.item_ids
    weights, scores = numbers(kept.weights), numbers(kept.scores)
    candidates: list[dict[str, Any]] = [{"id": item_id} for item_id in ids]
    for place, candidate in enumerate(candidates):
        if models is None:
            candidate["score"] = float(scores[place])
        if len(weights):
            candidate["weight"] = float(weights[place])
    if models is not None:
        _tell_models(models, candidates)
    return {"list": kept.rung, "wanted": kept.wanted, "candidates": candidates}


def _tell_models(models: KeptModels, candidates: list[dict[str, Any]]) -> None:
    said = numbers(models.scores).reshape(len(LISTS), -1)
    margins = margins_of(models)
    features = numbers(models.features).reshape(len(FEATURES), -1) if models.features else None
    for place, candidate in enumerate(candidates):
        candidate["models"] = {
            name: score for name, score in zip(LISTS, said[:, place].tolist(), strict=True) if score > 0.0
        }
        if len(margins) and not np.isnan(margins[place]):
            candidate["log_odds"] = float(margins[place])
        if features is not None and not np.isnan(features[0, place]):
            candidate["features"] = dict(zip(FEATURES, features[:, place].tolist(), strict=True))
