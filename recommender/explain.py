"""Say why an item is suggested: which of the visitor's own events speaks for it most, or that everybody likes it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feature_store.kinds import Kind
from recommender.fold_in import prefix_weights
from recommender.live_model import LiveModel
from recommender.models.ials import Ials
from recommender.models.protocol import NOTHING_BLOCKED, Prefix, Rows
from recommender.requests import Reason, Rung

_VERBS = {Kind.VIEW: "viewed", Kind.SELECT: "viewed", Kind.ADD_TO_CART: "added", Kind.PURCHASE: "bought"}
_EVENTS_MAX = 10
_NEIGHBOURS = 200
_DECAY = 0.5


def because(
    model: LiveModel | None, prefix: Prefix, item_ids: Sequence[str], rungs: Sequence[Rung]
) -> list[tuple[Reason, ...]]:
    """One tuple of reasons per item, in order: the strongest transition to it, else what says most in its iALS score.

    An item that no single event explains (sessions like this one voted for it) has none.
    """
    if model is None:
        return [(Reason("catalogue"),) for _ in item_ids]
    personal = {"blend", "neighbours"}
    rows = [
        model.items.row(item_id) if rung in personal else None for item_id, rung in zip(item_ids, rungs, strict=True)
    ]
    events = _strongest_events(model, prefix, [row for row in rows if row is not None])
    reasons: list[tuple[Reason, ...]] = []
    for row, rung in zip(rows, rungs, strict=True):
        if rung not in personal:
            reasons.append((Reason(rung),))
        else:
            event = events.get(row) if row is not None else None
            reasons.append((_reason(model, prefix, event),) if event is not None else ())
    return reasons


def contributions(ials: Ials, prefix: Prefix, rows: Rows) -> NDArray[np.float64]:
    """Shape (len(rows), len(prefix.rows)): what each event adds to each row's exact iALS score; they sum to it.

    The vector of a visitor is `A⁻¹ Σ b_i y_i`, a sum over their events, and so is every product with it.
    """
    factors = ials.factors
    weights = prefix_weights(prefix, ials.parameters.decay).astype(np.float64)
    curvature = weights * float(ials.parameters.alpha or 0.0)
    seen = factors.vectors[prefix.rows].astype(np.float64)
    left = factors.gram.astype(np.float64) + seen.T @ (curvature[:, None] * seen)
    parts = np.linalg.solve(left, seen.T * np.where(weights > 0, 1.0 + curvature, 0.0))
    return factors.vectors[rows].astype(np.float64) @ parts


def _strongest_events(model: LiveModel, prefix: Prefix, wanted: Sequence[int]) -> dict[int, int]:
    """By row of `wanted`: the place in `prefix` of the event that speaks for it most."""
    if not wanted or not len(prefix.rows):
        return {}
    rows, kinds, times_ms = prefix
    newest = Prefix(rows[-_EVENTS_MAX:], kinds[-_EVENTS_MAX:], times_ms[-_EVENTS_MAX:])
    offset = len(prefix.rows) - len(newest.rows)
    strongest = {row: offset + event for row, event in _by_transition(model, newest).items()}
    unexplained = np.array([row for row in wanted if row not in strongest], np.int32)
    known = len(model.ials.factors)
    if len(unexplained) and known > max(newest.rows.max(), unexplained.max()):
        shares = contributions(model.ials, newest, unexplained)
        for row, share in zip(unexplained.tolist(), shares, strict=True):
            if share.max() > 0:
                strongest[row] = offset + int(share.argmax())
    return strongest


def _by_transition(model: LiveModel, newest: Prefix) -> dict[int, int]:
    best: dict[int, tuple[float, int]] = {}
    for distance in range(len(newest.rows)):
        event = len(newest.rows) - 1 - distance
        row = int(newest.rows[event])
        found = model.neighbours(row, _NEIGHBOURS, NOTHING_BLOCKED)
        strengths = (found.scores * np.exp(-_DECAY * distance)).tolist()
        # Its own earlier view is the plainest reason of all.
        for neighbour, strength in [(row, np.inf), *zip(found.rows.tolist(), strengths, strict=True)]:
            if neighbour not in best or strength > best[neighbour][0]:
                best[neighbour] = (strength, event)
    return {row: event for row, (_, event) in best.items()}


def _reason(model: LiveModel, prefix: Prefix, event: int) -> Reason:
    return Reason(_VERBS[Kind(int(prefix.kinds[event]))], model.items.item_id(int(prefix.rows[event])))
