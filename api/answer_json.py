"""The JSON of suggestions, as a shop's page reads it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from api.suggestions import Recommendations
from recommender.requests import Suggestion

SCORE_DIGITS = 4
"""More is noise, and a quarter of the bytes."""


def encode_recommendations(recommendations: Recommendations) -> bytes:
    """The answer of `/v1/recommendations`."""
    told = {} if recommendations.rules is None else {"rules": recommendations.rules}
    return orjson.dumps(
        {
            "recommendation_id": recommendations.recommendation_id,
            "placement": recommendations.placement,
            "items": _items(recommendations.items),
            "served_by": recommendations.served_by,
            "degraded": recommendations.degraded,
            "model_version": recommendations.model_version,
            "experiment": msgspec.to_builtins(recommendations.experiment),
            "took_ms": recommendations.took_ms,
            **told,
        }
    )


def encode_items(items: Sequence[Suggestion]) -> bytes:
    """The answer of a list that is the same for everybody."""
    return orjson.dumps({"items": _items(items)})


def _items(items: Sequence[Suggestion]) -> list[dict[str, Any]]:
    return [_item(item) for item in items]


def _item(item: Suggestion) -> dict[str, Any]:
    encoded: dict[str, Any] = {"id": item.id, "score": round(item.score, SCORE_DIGITS)}
    if item.reasons:
        encoded["reasons"] = msgspec.to_builtins(item.reasons)
    if item.properties is not None:
        encoded["properties"] = item.properties
    return encoded
