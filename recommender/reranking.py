"""Put a shop's own candidates (a search result, a category page) into the order that suits one visitor."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from recommender.availability import Availability
from recommender.live_model import LiveModel
from recommender.models.protocol import Prefix
from recommender.narrowing import Narrowed
from recommender.shaping import weighed

CANDIDATES_MAX = 1_000

Order = Literal["blend", "given"]


class Reranked(NamedTuple):
    """`item_ids` best first, `scores` not growing; `order`: who made it. What no model has an opinion on keeps the
    shop's own order, below what one has.
    """

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    order: Order
    degraded: str | None
    model_version: str | None


def reranked(
    candidates: Sequence[str],
    model: LiveModel | None,
    prefix: Prefix,
    narrowed: Narrowed | None,
    availability: Availability,
    *,
    in_time: bool,
) -> Reranked:
    """Every candidate once, but those that a filter does not let pass; what cannot be bought now goes to the end.

    Args:
        candidates: at most `CANDIDATES_MAX`, the shop's best first.
        in_time: is there time to ask the models?
    """
    wanted = [item_id for item_id in dict.fromkeys(candidates) if narrowed is None or narrowed.passes(item_id)]
    scores: dict[str, float] = {}
    degraded = "no-model" if model is None else "no-history" if not len(prefix.rows) else None
    if model is not None and degraded is None:
        if in_time:
            scores = _scores(wanted, model, prefix, narrowed)
        else:
            degraded = "budget"
    # Sorting is stable: equal scores stay in the shop's order.
    wanted.sort(key=lambda item_id: (not availability.available(item_id), -scores.get(item_id, 0.0)))
    return Reranked(
        tuple(wanted),
        tuple(scores.get(item_id, 0.0) for item_id in wanted),
        "blend" if scores else "given",
        degraded,
        model.version if model is not None else None,
    )


def _scores(wanted: Sequence[str], model: LiveModel, prefix: Prefix, narrowed: Narrowed | None) -> dict[str, float]:
    items = model.items
    rows = [row for item_id in wanted if (row := items.row(item_id)) is not None]
    if not rows:
        return {}
    blocked = np.ones(len(items), np.bool_)
    blocked[rows] = False
    scored = model.personal(prefix, len(rows), blocked)
    if narrowed is not None:
        scored = weighed(scored, narrowed.weights(scored.rows, items))
    ids = items.ids
    return {ids[row]: score for row, score in zip(scored.rows.tolist(), scored.scores.tolist(), strict=True)}
