"""Take a blended score apart: what each of the visitor's events adds to it, through every list of the blend."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.blend import length_class
from recommender.fold_in import prefix_weights
from recommender.live_model import LiveModel
from recommender.models.ials import Ials
from recommender.models.knn_shares import session_shares
from recommender.models.own_session import OwnSession
from recommender.models.protocol import KIND_WEIGHT, Blocked, Prefix, Rows, Scored
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions

Shares = NDArray[np.float64]
"""Shape (rows, events): what each event adds to each row's score. The rows' sums are the scores."""


class Contributions(NamedTuple):
    """A blend's scores of some rows, shape (rows,), and their shares by event, shape (rows, events)."""

    scores: NDArray[np.float64]
    shares: Shares


def blended_contributions(model: LiveModel, prefix: Prefix, rows: Rows, n: int, blocked: Blocked) -> Contributions:
    """What `model.personal(prefix, n, blocked)` gives to `rows`, event by event.

    A list of the blend speaks for the rows it holds, divided by its first score and weighed by the length of the
    session; so do the shares of its events. Each model's own score is linear in its events once the visitor's
    neighbours are found.
    """
    parameters = model.parameters.blend
    place, depth = length_class(len(prefix.rows)), max(n, parameters.depth)
    shares = np.zeros((len(rows), len(prefix.rows)))
    scores = np.zeros(len(rows))
    members: list[tuple[str, Scored, Callable[[Rows], Shares]]] = [
        (SessionKnn.name, model.session_knn.scores(prefix, depth, blocked), lambda r: knn_shares(model, prefix, r)),
        (Transitions.name, model.transitions.scores(prefix, depth, blocked), lambda r: step_shares(model, prefix, r)),
        (Ials.name, model.ials.scores(prefix, depth, blocked), lambda r: vector_shares(model.ials, prefix, r)),
        (OwnSession.name, OwnSession().scores(prefix, depth, blocked), lambda r: own_shares(prefix, r)),
    ]
    for name, scored, taken_apart in members:
        weight = parameters.weights[name][place] if name in parameters.weights else 0.0
        if not len(scored.rows) or not weight or not scored.scores[0] > 0:
            continue
        said = dict(zip(scored.rows.tolist(), scored.scores.tolist(), strict=True))
        held = np.array([number for number, row in enumerate(rows.tolist()) if said.get(row, 0.0) > 0.0], np.int64)
        if not len(held):
            continue
        own = np.array([said[row] for row in rows[held].tolist()])
        scale = weight / float(scored.scores[0])
        scores[held] += own * scale
        shares[held] += settled(taken_apart(rows[held]), own) * scale
    return Contributions(scores, shares)


def settled(shares: Shares, scores: NDArray[np.float64]) -> Shares:
    """`shares` whose rows sum to `scores`: what rounding and a solve of few steps leave is shared out by size."""
    missing = scores - shares.sum(axis=1)
    sizes = np.abs(shares)
    total = sizes.sum(axis=1, keepdims=True)
    parts: Shares = np.divide(sizes, total, out=np.full_like(sizes, 1.0 / max(1, sizes.shape[1])), where=total > 0)
    whole: Shares = shares + parts * missing[:, None]
    return whole


def knn_shares(model: LiveModel, prefix: Prefix, rows: Rows) -> Shares:
    """By query item: a session's likeness is a sum over the items it has in common with the visitor."""
    return session_shares(model.session_knn, prefix, rows)


def step_shares(model: LiveModel, prefix: Prefix, rows: Rows) -> Shares:
    """By step: each of the newest events alone, as far back as it lies."""
    transitions = model.transitions
    shares = np.zeros((len(rows), len(prefix.rows)))
    blocked = np.ones(len(model.items), np.bool_)
    blocked[rows] = False
    number = {row: place for place, row in enumerate(rows.tolist())}
    count = len(prefix.rows)
    for distance in range(min(transitions.parameters.last, count)):
        event = slice(count - 1 - distance, count - distance)
        one = Prefix(prefix.rows[event], prefix.kinds[event], prefix.times_ms[event])
        found = transitions.scores(one, len(rows), blocked)
        say = float(np.exp(-transitions.parameters.decay * distance))
        for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True):
            shares[number[row], count - 1 - distance] = say * score
    return shares


def vector_shares(ials: Ials, prefix: Prefix, rows: Rows) -> Shares:
    """By event: the vector of a visitor is `A⁻¹ Σ b_i y_i`, a sum over their events, and so is every product with it.

    The rows' sums are the exact scores; events without weight, or on items without a vector, add nothing.
    """
    factors, parameters = ials.factors, ials.parameters
    newest = slice(-parameters.last, None)
    last = Prefix(prefix.rows[newest], prefix.kinds[newest], prefix.times_ms[newest])
    weights = prefix_weights(last, parameters.decay).astype(np.float64)
    known = (last.rows < len(factors)) & (weights > 0)
    alpha = float(parameters.alpha or 0.0)
    seen = factors.vectors[last.rows[known]].astype(np.float64)
    curvature = weights[known] * alpha
    left = factors.gram.astype(np.float64) + seen.T @ (curvature[:, None] * seen)
    parts = np.linalg.solve(left, seen.T * (1.0 + curvature))
    shares = np.zeros((len(rows), len(prefix.rows)))
    inside = np.flatnonzero(rows < len(factors))
    places = len(prefix.rows) - len(last.rows) + np.flatnonzero(known)
    shares[np.ix_(inside, places)] = factors.vectors[rows[inside]].astype(np.float64) @ parts
    return shares


def own_shares(prefix: Prefix, rows: Rows) -> Shares:
    """By event: an item of the visitor's own session is there because of its newest event."""
    shares = np.zeros((len(rows), len(prefix.rows)))
    for number, row in enumerate(rows.tolist()):
        events = np.flatnonzero((prefix.rows == row) & (KIND_WEIGHT[prefix.kinds] > 0))
        if len(events):
            shares[number, events[-1]] = 1.0 / (len(prefix.rows) - int(events[-1]))
    return shares
