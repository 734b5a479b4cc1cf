"""Say why each item is there: what each of the visitor's own events adds to its score, or that everybody likes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from feature_store.kinds import Kind
from recommender.contributions import Shares, blended_contributions
from recommender.live_model import LiveModel
from recommender.logics import Question, cart_prefix, page_prefix
from recommender.models.protocol import Blocked, Prefix, Rows
from recommender.ranker.features import FEATURES
from recommender.requests import Reason, Rung

_VERBS = {Kind.VIEW: "viewed", Kind.SELECT: "viewed", Kind.ADD_TO_CART: "added", Kind.PURCHASE: "bought"}
_SHARE_MIN = 1e-7
_FEATURES_TOLD = 5


class Slots(NamedTuple):
    """What is to be explained: items, scores and the lists they came from; all of one length."""

    item_ids: Sequence[str]
    scores: Sequence[float]
    rungs: Sequence[Rung]


class _Asked(NamedTuple):
    """What a list was asked with, by name: an item and what was done with it. One for each event."""

    item_ids: list[str]
    verbs: list[str]


def because(question: Question, slots: Slots, *, depth: int, blocked: Blocked | None) -> list[tuple[Reason, ...]]:
    """One tuple of reasons per item, strongest first; their shares sum to the item's score.

    Events on one item are one reason. What everybody likes has a reason without item; what no list gave (a pin, a new
    item) has none.

    Args:
        question: as the lists were asked.
        slots: the answer.
        depth: how long the lists were.
        blocked: rows that were blocked when the first list was asked; None without a model.
    """
    reasons: list[tuple[Reason, ...]] = [()] * len(slots.item_ids)
    for rung in dict.fromkeys(slots.rungs):
        places = [place for place, other in enumerate(slots.rungs) if other == rung]
        taken_apart = _TAKEN_APART.get(rung)
        if taken_apart is None:
            for place in places if rung != "none" else ():
                reasons[place] = (Reason(rung, share=slots.scores[place]),)
            continue
        asked, shares = taken_apart(question, [slots.item_ids[place] for place in places], depth, blocked)
        for place, said in zip(places, shares, strict=True):
            score = slots.scores[place]
            reasons[place] = _reasons(asked, said, score)
        if rung == "ranker":
            _tell_ranked(question, slots, places, reasons, blocked)
    return reasons


def _tell_ranked(
    question: Question, slots: Slots, places: list[int], reasons: list[tuple[Reason, ...]], blocked: Blocked | None
) -> None:
    """After the events that speak for the ranker's items, the features that moved them most."""
    model = _model(question)
    rows = _rows(model, [slots.item_ids[place] for place in places])
    told = model.rank_attributions(question.prefix, rows, _without_at_hand(model, question.prefix, blocked))
    for place, values in zip(places, told, strict=True):
        if slots.scores[place] and not reasons[place]:
            # The trees score what no event speaks for, too.
            reasons[place] = (Reason("ranker", share=slots.scores[place]),)
        largest = np.argsort(-np.abs(values), kind="stable")[:_FEATURES_TOLD].tolist()
        reasons[place] += tuple(
            Reason("ranked", feature=FEATURES[at], weight=float(values[at])) for at in largest if values[at]
        )


def _without_at_hand(model: LiveModel, prefix: Prefix, blocked: Blocked | None) -> Blocked:
    mask = blocked.copy() if blocked is not None else np.zeros(len(model.items), np.bool_)
    mask[prefix.rows[-1]] = True
    return mask


def _reasons(asked: _Asked, shares: Shares, score: float) -> tuple[Reason, ...]:
    """Reasons by item, their shares stretched from the list's score to the told one (which rules may have weighed)."""
    total = float(shares.sum())
    if not abs(total) > 0.0:
        return ()
    by_item: dict[str, tuple[float, float, str]] = {}
    for item_id, verb, share in zip(asked.item_ids, asked.verbs, shares.tolist(), strict=True):
        summed, largest, said = by_item.get(item_id, (0.0, -np.inf, verb))
        by_item[item_id] = (summed + share, max(largest, share), verb if share >= largest else said)
    kept = [(share * score / total, item_id, verb) for item_id, (share, _, verb) in by_item.items()]
    kept = [entry for entry in kept if abs(entry[0]) > _SHARE_MIN]
    kept.sort(key=lambda entry: (-entry[0], entry[1]))
    return tuple(Reason(verb, item_id, share=share) for share, item_id, verb in kept)


def _blend(
    question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    return _of_blend(question, question.prefix, item_ids, depth, blocked)


def _related(
    question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    return _of_blend(question, page_prefix(question), item_ids, depth, blocked)


def _of_blend(
    question: Question, prefix: Prefix, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    model = _model(question)
    mask = _without_at_hand(model, prefix, blocked)
    found = blended_contributions(model, prefix, _rows(model, item_ids), depth, mask)
    return _named(model, prefix), list(found.shares)


def _together(
    question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    model, prefix = _model(question), cart_prefix(question)
    shares = model.bought_together.contributions(prefix, _rows(model, item_ids))
    asked = _named(model, prefix)
    verbs = ["in-cart" if item_id in question.in_cart else "viewed" for item_id in asked.item_ids]
    return _Asked(asked.item_ids, verbs), list(shares)


def _neighbours(
    question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    model = _model(question)
    prefix = question.prefix if len(question.prefix.rows) else page_prefix(question)
    last = Prefix(prefix.rows[-1:], prefix.kinds[-1:], prefix.times_ms[-1:])
    return _named(model, last), [np.ones(1) for _ in item_ids]


def _alike(
    question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
) -> tuple[_Asked, list[Shares]]:
    catalogue, places = question.catalogue, question.alike_places()
    prefix = Prefix(places, np.ones(len(places), np.uint8), np.zeros(len(places), np.int64))
    wanted = [row if (row := catalogue.facts.items.row(item_id)) is not None else 0 for item_id in item_ids]
    shares = catalogue.content.contributions(prefix, np.array(wanted, np.int32))
    ids = [catalogue.facts.items.item_id(place) for place in places.tolist()]
    return _Asked(ids, ["viewed"] * len(ids)), list(shares)


def _itself(verb: str) -> Callable[..., tuple[_Asked, list[Shares]]]:
    def taken_apart(
        question: Question, item_ids: Sequence[str], depth: int, blocked: Blocked | None
    ) -> tuple[_Asked, list[Shares]]:
        return _Asked(list(item_ids), [verb] * len(item_ids)), list(np.eye(len(item_ids)))

    return taken_apart


_TAKEN_APART: Mapping[Rung, Callable[..., tuple[_Asked, list[Shares]]]] = {
    # The trees order what the same lists bring, so the same events speak for it.
    "ranker": _blend,
    "blend": _blend,
    "related": _related,
    "bought-together": _together,
    "neighbours": _neighbours,
    "alike": _alike,
    "recent": _itself("viewed"),
    "buy-again": _itself("bought"),
}


def _model(question: Question) -> LiveModel:
    assert question.model is not None, "a list of rows comes from a model"
    return question.model


def _rows(model: LiveModel, item_ids: Sequence[str]) -> Rows:
    return np.array([model.items.row(item_id) for item_id in item_ids], np.int32)


def _named(model: LiveModel, prefix: Prefix) -> _Asked:
    ids = [model.items.item_id(row) for row in prefix.rows.tolist()]
    return _Asked(ids, [_VERBS.get(Kind(kind), "viewed") for kind in prefix.kinds.tolist()])
