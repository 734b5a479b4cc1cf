"""Which lists each logic asks, in which order, and when an answer counts as its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from recommender.catalogue import Catalogue
from recommender.fallbacks import Fallbacks, remaining
from recommender.filling import Filling
from recommender.history import EMPTY_HISTORY, History
from recommender.ladder import BLEND, NEIGHBOURS, RANKER, TRENDING
from recommender.live_model import LiveModel
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Prefix, Rows, Scored
from recommender.models.recently_viewed import RecentlyViewed
from recommender.requests import Logic, RecommendRequest, Rung

OWN: Mapping[Logic, frozenset[Rung]] = {
    Logic.PERSONAL: frozenset({"ranker", "blend", "alike"}),
    Logic.RELATED: frozenset({"related", "alike"}),
    Logic.COMPLEMENTARY: frozenset({"bought-together"}),
    Logic.TRENDING: frozenset({"trending"}),
    Logic.RECENT: frozenset({"recent"}),
    Logic.BUY_AGAIN: frozenset({"buy-again"}),
}
"""The lists that a logic is about; an answer that begins with another one is degraded."""

_VISITORS_OWN = frozenset({Logic.RECENT, Logic.BUY_AGAIN})
_ALIKE_MORE = 20
_RANKER: Rung = "ranker"
_BLEND: Rung = "blend"
_Suggest = Callable[[Prefix, int, Blocked], Scored]


class Question(NamedTuple):
    """What the lists are asked with.

    Attributes:
        prefix: what the visitor did, in the model's rows, the page's own item the newest.
        rung: the dearest that may be asked, by its place in `RUNGS`.
        in_cart: what lies in the cart.
        forgiven: what was bought and is left out for no other reason.
        category: the page's.
    """

    request: RecommendRequest
    history: History
    model: LiveModel | None
    catalogue: Catalogue
    fallbacks: Fallbacks
    prefix: Prefix
    rung: int
    now_ms: int
    in_cart: frozenset[str]
    forgiven: frozenset[str]
    category: str | None

    def alike_places(self) -> Rows:
        """Whom the content model is asked about: the page's item alone where the logic is about it."""
        related = chain_of(self.request)[0] is Logic.RELATED
        return self.catalogue.places_of(EMPTY_HISTORY if related else self.history, self.request.item)


def chain_of(request: RecommendRequest) -> tuple[Logic, ...]:
    """The request's logic and its fallbacks; related to no item is personal."""
    return _chain(request.logic, request.fallbacks, request.item is not None)


@lru_cache(maxsize=256)
def _chain(first: Logic | None, fallbacks: tuple[Logic, ...], with_item: bool) -> tuple[Logic, ...]:
    # Placements are few, and every answer asks three times.
    logics = [logic if logic is not None else Logic.PERSONAL for logic in (first, *fallbacks)]
    if not with_item:
        logics = [Logic.PERSONAL if logic is Logic.RELATED else logic for logic in logics]
    return tuple(dict.fromkeys(logics))


def dearest(chain: Sequence[Logic], prefix: Prefix) -> int:
    """The rung that these logics would ask for, had they all the time; a place in `RUNGS`."""
    if len(prefix.rows) and Logic.PERSONAL in chain:
        return RANKER
    if len(prefix.rows) and Logic.RELATED in chain:
        return BLEND
    return NEIGHBOURS if Logic.COMPLEMENTARY in chain else TRENDING


def ask(chain: Sequence[Logic], question: Question, filling: Filling) -> None:
    """Fill the answer from the lists of each logic in turn, then with what everybody likes.

    Lists of the visitor's own (recently viewed, buy again) are not filled up with what is not theirs.
    """
    for logic in chain:
        if filling.missing > 0:
            _LISTS[logic](question, filling)
    filling.n = min(filling.n, max(question.request.n, len(filling.item_ids)))
    if filling.takes_anything and fills_up(chain):
        _fill_up(question, filling)


def fills_up(chain: Sequence[Logic]) -> bool:
    """May what everybody likes stand in for what these lists leave empty?"""
    return not _VISITORS_OWN.issuperset(chain)


def _personal(question: Question, filling: Filling) -> None:
    model, prefix = question.model, question.prefix
    if model is not None and len(prefix.rows) and question.rung <= BLEND:
        blocked = filling.blocked(model.items)
        ranked = question.rung == RANKER and model.ranks
        suggest, rung = (model.ranked, _RANKER) if ranked else (model.personal, _BLEND)
        heard = _noted(suggest, model, filling, ranks=ranked)
        filling.extend(_without_at_hand(heard, prefix, filling.depth, blocked), model.items, rung)
    if model is not None and filling.missing > 0 and len(prefix.rows) and question.rung == NEIGHBOURS:
        found = model.neighbours(int(prefix.rows[-1]), filling.depth, filling.blocked(model.items))
        filling.extend(found, model.items, "neighbours")
    if filling.missing > 0 and (not len(prefix.rows) or _may_look_alike(question, filling)):
        _alike(question, filling)


def _related(question: Question, filling: Filling) -> None:
    model, prefix = question.model, page_prefix(question)
    if model is not None and len(prefix.rows):
        blocked = filling.blocked(model.items)
        if question.rung <= BLEND:
            heard = _noted(model.personal, model, filling, ranks=False)
            filling.extend(_without_at_hand(heard, prefix, filling.depth, blocked), model.items, "related")
        elif question.rung == NEIGHBOURS:
            filling.extend(model.neighbours(int(prefix.rows[0]), filling.depth, blocked), model.items, "neighbours")
    if filling.missing > 0 and (not len(prefix.rows) or _may_look_alike(question, filling)):
        _alike(question, filling)


def page_prefix(question: Question) -> Prefix:
    """The page's own item alone, seen just now; empty when the model does not know it."""
    model, item = question.model, question.request.item
    row = model.items.row(item) if model is not None and item is not None else None
    rows = np.array([] if row is None else [row], np.int32)
    newest_ms = model.newest_ms if model is not None else 0
    return Prefix(rows, np.ones(len(rows), np.uint8), np.full(len(rows), newest_ms, np.int64))


def _complementary(question: Question, filling: Filling) -> None:
    model, prefix = question.model, cart_prefix(question)
    if model is not None and len(prefix.rows) and question.rung <= NEIGHBOURS:
        blocked = filling.blocked(model.items)
        filling.extend(model.bought_together.scores(prefix, filling.depth, blocked), model.items, "bought-together")


def cart_prefix(question: Question) -> Prefix:
    """What lies in the cart, and the page's own item last; what the model does not know is left out."""
    model, item = question.model, question.request.item
    ids = [*sorted(question.in_cart - {item}), *((item,) if item is not None else ())]
    rows = [row for item_id in ids if model is not None and (row := model.items.row(item_id)) is not None]
    return Prefix(np.array(rows, np.int32), np.ones(len(rows), np.uint8), np.zeros(len(rows), np.int64))


def _trending(question: Question, filling: Filling) -> None:
    model, category = question.model, question.category
    if model is None or question.rung > TRENDING:
        return
    question.fallbacks.refresh(model, question.now_ms)
    if category is not None:
        blocked, facts = filling.blocked(model.items), question.catalogue.facts
        found = question.fallbacks.trending_in(category, filling.depth, blocked, facts, model.items)
        filling.extend(found, model.items, "trending")
    if filling.missing > 0:
        blocked = filling.blocked(model.items)
        filling.extend(question.fallbacks.trending(filling.depth, blocked), model.items, "trending")


def _recent(question: Question, filling: Filling) -> None:
    history = question.history
    if not len(history.item_ids):
        return
    # What a visitor saw is theirs whether or not a model knows it, so the history numbers its own items.
    own = ItemTable(history.item_ids)
    rows = np.array([own.row(item_id) for item_id in history.item_ids], np.int32)
    found = RecentlyViewed().scores(Prefix(rows, history.kind, history.time_ms), len(own))
    items = question.model.items if question.model is not None else None
    filling.extend_named([own.item_id(row) for row in found.rows.tolist()], found.scores, items, "recent")


def _buy_again(question: Question, filling: Filling) -> None:
    model, history = question.model, question.history
    if model is None or not len(history.item_ids):
        return
    known = [(place, row) for place, item in enumerate(history.item_ids) if (row := model.items.row(item)) is not None]
    places = [place for place, _ in known]
    rows = np.array([row for _, row in known], np.int32)
    bought = Prefix(rows, history.kind[places], history.time_ms[places])
    found = model.buy_again.due(bought, question.now_ms, len(rows) or 1)
    ids = [model.items.item_id(row) for row in found.rows.tolist()]
    filling.extend_named(ids, found.scores, model.items, "buy-again", forgiven=question.forgiven)


_LISTS: Mapping[Logic, Callable[[Question, Filling], None]] = {
    Logic.PERSONAL: _personal,
    Logic.RELATED: _related,
    Logic.COMPLEMENTARY: _complementary,
    Logic.TRENDING: _trending,
    Logic.RECENT: _recent,
    Logic.BUY_AGAIN: _buy_again,
}


def _may_look_alike(question: Question, filling: Filling) -> bool:
    """Where time or room is short, likeness costs more than the list that it would complete: only if there is none."""
    return question.rung <= BLEND or (question.rung == NEIGHBOURS and not filling.item_ids)


def _alike(question: Question, filling: Filling) -> None:
    """What is like the page's item, and the visitor's, by what the shop says: for what nobody clicked yet."""
    places = question.alike_places()
    if len(places):
        ids, scores = question.catalogue.alike(places, filling.depth + _ALIKE_MORE)
        items = question.model.items if question.model is not None else None
        filling.extend_named(ids, scores, items, "alike")


def _fill_up(question: Question, filling: Filling) -> None:
    """What rises, what is popular, what is there: until nothing is missing."""
    model = question.model
    if model is None or filling.missing <= 0 or not len(model.items):
        return
    items = model.items
    question.fallbacks.refresh(model, question.now_ms)
    if question.rung <= TRENDING:
        filling.extend(question.fallbacks.trending(filling.depth, filling.blocked(items)), items, "trending")
    if filling.missing > 0:
        filling.extend(question.fallbacks.popular(filling.depth, filling.blocked(items)), items, "popular")
    if filling.missing > 0:
        rows = remaining(len(items), filling.missing, filling.blocked(items))
        filling.extend(Scored(rows, np.zeros(len(rows), np.float32)), items, "popular")


def _noted(suggest: _Suggest, model: LiveModel, filling: Filling, *, ranks: bool) -> _Suggest:
    """The same list; where notes are taken, with what every model said."""
    return suggest if filling.notes is None else filling.notes.listening(model, ranks=ranks)


def _without_at_hand(suggest: _Suggest, prefix: Prefix, n: int, blocked: Blocked) -> Scored:
    """The list without the item at hand: nobody goes from an item to itself. Popular, it may still fill up the end."""
    at_hand = prefix.rows[-1]
    was_blocked = bool(blocked[at_hand])
    blocked[at_hand] = True
    scored = suggest(prefix, n, blocked)
    blocked[at_hand] = was_blocked
    return scored
