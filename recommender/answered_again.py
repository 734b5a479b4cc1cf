"""Make an answer once more of what was kept of it: the ranking and the policy, without model, rules or catalogue.

It runs what served: the kernels that sum and rank the models' lists, and the filling that the policy works on. So a
kept answer can be trusted to say how it came about, whatever has been learnt or decided since.
"""

import numpy as np
from numba import njit

from recommender.availability import Availability
from recommender.filling import Filling
from recommender.kept_answer import KeptAnswer, KeptList, KeptModels
from recommender.kept_plainly import margins_of, numbers
from recommender.models.protocol import Scored, Scores
from recommender.served_blend import sum_of_lists
from recommender.served_ranker import best_of_lists
from recommender.slot_exploration import places_of
from recommender.told import LISTS


def answered_again(kept: KeptAnswer) -> tuple[list[str], list[float]]:
    """The items by slot, and their scores."""
    filling = Filling(0, frozenset(), Availability(), min_relevance=kept.min_relevance)
    for each in kept.lists:
        item_ids, scores, weights = _list_again(each)
        filling.n = len(filling.item_ids) + each.wanted
        filling.take(item_ids, scores, weights, each.rung)
    if kept.categories:
        filling.share_out(kept.n, kept.categories, kept.diversity)
    elif len(filling.item_ids) > kept.n:
        filling.keep(range(kept.n))
    if kept.pins:
        filling.pin(kept.pins, kept.n)
    if kept.exploration is not None:
        filling.keep(places_of(kept.exploration, len(filling.item_ids)))
    for slot, item_id in kept.new_items.items():
        filling.replace(slot, item_id)
    return filling.item_ids, filling.scores


def _list_again(kept: KeptList) -> tuple[list[str], Scores, Scores | None]:
    weights = numbers(kept.weights) if kept.weights else None
    if kept.models is None:
        return list(kept.item_ids), numbers(kept.scores), weights
    rows, scores = ranked_again(kept.models)
    ids = kept.models.item_ids
    return [ids[row] for row in rows.tolist()], scores, weights[rows] if weights is not None else None


def ranked_again(models: KeptModels) -> Scored:
    """The list of the ranker or the blend; rows are places in `models.item_ids`."""
    count = len(models.item_ids)
    said = numbers(models.scores).reshape(len(LISTS), count)
    lists = tuple(_best_first(scores) for scores in said)
    weights, totals = numbers(models.weights), np.zeros(count, np.float32)
    if not models.margins:
        return Scored(*_summed(lists, weights, totals, models.n))
    margins = margins_of(models)
    candidates = np.flatnonzero(~np.isnan(margins)).astype(np.int32)
    slots = np.full(count, -1, np.int32)
    return Scored(*_ranked(lists, candidates, margins[candidates], weights, totals, slots, models.n))


def _best_first(scores: Scores) -> Scored:
    """Those above zero, ties by row: a list as it came from its model."""
    rows = np.flatnonzero(scores > 0.0).astype(np.int32)
    order = np.argsort(-scores[rows], kind="stable")
    return Scored(rows[order], scores[rows[order]])


@njit(cache=True, nogil=True)
def _summed(lists, weights, totals, n):  # type: ignore[no-untyped-def]
    return sum_of_lists(lists, weights, totals, n)


@njit(cache=True, nogil=True)
def _ranked(lists, candidates, margins, weights, totals, slots, n):  # type: ignore[no-untyped-def]
    return best_of_lists(lists, candidates, margins, weights, totals, slots, n)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    one = np.ones(1, np.float64).tobytes()
    scores, weights = np.ones(len(LISTS), np.float32).tobytes(), np.ones(len(LISTS), np.float32).tobytes()
    ranked_again(KeptModels(("a",), 1, scores, weights))
    ranked_again(KeptModels(("a",), 1, scores, weights, margins=one))
