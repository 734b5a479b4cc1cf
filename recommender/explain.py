"""Say why an item is suggested: which of the visitor's own events speaks for it most, or that everybody likes it."""

from collections.abc import Sequence

import numpy as np

from feature_store.kinds import Kind
from recommender.live_model import LiveModel
from recommender.models.protocol import NOTHING_BLOCKED, Prefix
from recommender.requests import Reason, Rung

_VERBS = {Kind.VIEW: "viewed", Kind.SELECT: "viewed", Kind.ADD_TO_CART: "added", Kind.PURCHASE: "bought"}
_EVENTS_MAX = 10
_NEIGHBOURS = 200
_DECAY = 0.5


def because(
    model: LiveModel | None, prefix: Prefix, item_ids: Sequence[str], rungs: Sequence[Rung]
) -> list[tuple[Reason, ...]]:
    """One tuple of reasons per item, in order; items of a personal rung that no single event explains get none."""
    if model is None:
        return [(Reason("catalogue"),) for _ in item_ids]
    strongest = _strongest_events(model, prefix) if {"blend", "neighbours"} & set(rungs) else {}
    reasons: list[tuple[Reason, ...]] = []
    for item_id, rung in zip(item_ids, rungs, strict=True):
        if rung in {"trending", "popular"}:
            reasons.append((Reason(rung),))
            continue
        row = model.items.row(item_id)
        reason = strongest.get(row) if row is not None else None
        reasons.append((reason[1],) if reason is not None else ())
    return reasons


def _strongest_events(model: LiveModel, prefix: Prefix) -> dict[int, tuple[float, Reason]]:
    """By row: the strength and the reason of the visitor's event that speaks for it most."""
    strongest: dict[int, tuple[float, Reason]] = {}
    for distance in range(min(_EVENTS_MAX, len(prefix.rows))):
        event = len(prefix.rows) - 1 - distance
        row = int(prefix.rows[event])
        reason = Reason(_VERBS[Kind(int(prefix.kinds[event]))], model.items.item_id(row))
        found = model.neighbours(row, _NEIGHBOURS, NOTHING_BLOCKED)
        strengths = found.scores * np.exp(-_DECAY * distance)
        # Its own earlier view is the plainest reason of all.
        for neighbour, strength in [(row, np.inf), *zip(found.rows.tolist(), strengths.tolist(), strict=True)]:
            if neighbour not in strongest or strength > strongest[neighbour][0]:
                strongest[neighbour] = (strength, reason)
    return strongest
