"""Turn a request and a visitor's history into an ordered list, by the dearest rung that the time allows."""

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from prometheus_client import Counter, Histogram

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.catalogue import Catalogue
from recommender.explain import Slots, because
from recommender.facts import Facts
from recommender.fallbacks import Fallbacks
from recommender.filling import Filling
from recommender.history import EMPTY_HISTORY, History
from recommender.kept_answer import KeptAnswer
from recommender.kernels import compile_all
from recommender.ladder import BLEND, Ladder, Shortage
from recommender.live_model import LiveModel
from recommender.logics import OWN, Question, ask, chain_of, dearest, fills_up
from recommender.models.item_table import ItemTable
from recommender.models.protocol import KIND_WEIGHT, Prefix
from recommender.narrowing import Narrowing
from recommender.ranked import Ranked
from recommender.requests import BUDGET_MS_MAX, Logic, Reason, RecommendRequest, Rung, Suggestion
from recommender.reranking import Reranked, reranked
from recommender.rule_set import RuleSet
from recommender.settings import RecommenderSettings
from recommender.shop_policy import Arranged, InForce, ShopPolicy, propensities_of
from recommender.why_not import RANKED_MAX, Obstacle, WhyNot, outranked

ExtraCandidates = Callable[[], Iterable[str]]
"""Catalogue ids, in a fixed order: what is suggested when the model knows too few items."""

_answers = Counter("afterclick_recommender_answers_total", "Answers by the rung that gave their first item", ["rung"])
_degraded = Counter("afterclick_recommender_degraded_total", "Answers by a cheaper rung than the dearest", ["reason"])
_seconds = Histogram(
    "afterclick_recommender_rank_seconds",
    "Time in the recommender for one answer",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
)


class Recommender:
    """Holds one live model and answers from it; one thread, no I/O.

    Args:
        extra_candidates: called only when the model cannot fill an answer.
        seconds: a clock that only grows, for measuring rungs.
    """

    def __init__(
        self,
        settings: RecommenderSettings,
        *,
        extra_candidates: ExtraCandidates = tuple,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self._extra_candidates = extra_candidates
        self._seconds = seconds
        self._catalogue = Catalogue(settings.exclude_categories)
        self._narrowing = Narrowing(self._catalogue.columns, refresh_ms=settings.trends_refresh_ms)
        self._policy = ShopPolicy(settings, self._catalogue, self._narrowing)
        self._fallbacks = Fallbacks(rows_max=settings.fallback_rows_max, refresh_ms=settings.trends_refresh_ms)
        self._ladder = Ladder(crowd_ms=settings.crowd_ms)
        self._model: LiveModel | None = None

    @property
    def model(self) -> LiveModel | None:
        """The model that answers now; None before the first."""
        return self._model

    def use(self, model: LiveModel | None) -> None:
        """Answer from `model` from now on: everything of it at once."""
        self._model = model

    def set_available(self, item_id: str, available: bool) -> None:
        """The catalogue's word, from now on; items never spoken of are available."""
        self._catalogue.availability.set_available(item_id, available)

    @property
    def facts(self) -> Facts:
        """What the catalogue says, as `describe` told it."""
        return self._catalogue.facts

    def describe(self, item_id: str, product: Product | None) -> None:
        """The catalogue's word, from now on; None: nothing is known of the item any more, so it is available."""
        self._catalogue.describe(item_id, product)

    def use_rules(self, rules: RuleSet) -> None:
        """The merchandiser's rules from now on."""
        self._policy.use_rules(rules)

    def preview(self, request: RecommendRequest, history: History, now_ms: int, rules: RuleSet) -> Ranked:
        """What `recommend` would answer under `rules`, with all the time it wants; those in force stay in force.

        Raises:
            ExpressionError: as `recommend`.
        """
        in_force = self._policy.rules
        self._policy.use_rules(rules)
        try:
            return self.recommend(request, history, now_ms, BUDGET_MS_MAX)
        finally:
            self._policy.use_rules(in_force)

    def recommend(
        self, request: RecommendRequest, history: History, now_ms: int, time_left_ms: float, *, waiting: int = 1
    ) -> Ranked:
        """`request.n` items whenever that many are eligible, each once, best first. No want of anything raises.

        `waiting`: requests that this process has to answer by now, this one among them.

        Raises:
            ExpressionError: a filter or booster of the request cannot be read.
        """
        started_s = self._seconds()
        model = self._model
        in_force = self._policy.of(request, history, model, now_ms)
        filling = self._policy.filling(request, in_force)
        chain = chain_of(request)
        question = self._question(request, history, in_force, now_ms)
        rung, short = self._ladder.choose(time_left_ms, dearest=question.rung, waiting=waiting)
        question = question._replace(rung=rung)
        ask(chain, question, filling)
        if filling.missing > 0 and filling.takes_anything and fills_up(chain):
            filling.extend_ids(self._extra_candidates(), "popular")
        arranged = self._policy.arrange(request, history, model, in_force, filling, now_ms)
        degraded = _degraded_by(chain[0], arranged, model, question.prefix, short)
        why = self._because(question, in_force, arranged) if request.explain else None
        ranked = _ranked(arranged, why, model, degraded, _kept(question, filling, arranged))
        self._measure(ranked, rung, self._seconds() - started_s)
        return ranked

    def why_not(self, item_id: str, request: RecommendRequest, history: History, now_ms: int) -> WhyNot:
        """What stands in an item's way, in order; told by ranking it as if it alone were let in. Counts nothing.

        Raises:
            ExpressionError: a filter or booster of the request cannot be read.
        """
        model = self._model
        known = model is not None and item_id in model.items
        if not known and self._catalogue.facts.product(item_id) is None:
            return WhyNot(item_id, (Obstacle("unknown"),))
        in_force = self._policy.of(request, history, model, now_ms)
        obstacles = [Obstacle("rule", rule=rule) for rule in self._policy.keeping_out(item_id, in_force)]
        if item_id == request.item:
            # Without its page the question is another one.
            return WhyNot(item_id, tuple(obstacles[:1]))
        longer = msgspec.structs.replace(request, n=max(request.n, RANKED_MAX))
        filling = self._policy.filling(longer, in_force, let_in=item_id)
        question = self._question(longer, history, in_force, now_ms)
        ask(chain_of(request), question, filling)
        if filling.missing > 0 and filling.takes_anything and fills_up(chain_of(request)):
            filling.extend_ids(self._extra_candidates(), "popular")
        self._policy.place(longer, in_force, filling)
        last, slot = outranked(item_id, filling.item_ids, filling.scores, request.n)
        # The catalogue lists no item that is sold out: where it would stand far down is not known.
        if last is not None and (last.rank is not None or not obstacles):
            obstacles.append(last)
        return WhyNot(item_id, tuple(obstacles), slot if not obstacles else None)

    def similar(self, item_id: str, n: int) -> tuple[Suggestion, ...]:
        """What goes with one item, whoever asks: by clicks, then by what the shop says of it; fewer than `n`, or none,
        when little is known of it.
        """
        model = self._model
        filling = Filling(n, frozenset((item_id,)), self._catalogue.availability)
        row = model.items.row(item_id) if model is not None else None
        if model is not None and row is not None:
            seen = Prefix(np.array([row], np.int32), np.ones(1, np.uint8), np.array([model.newest_ms], np.int64))
            filling.extend(model.personal(seen, n, filling.blocked(model.items)), model.items, "neighbours")
        if filling.missing > 0:
            ids, scores = self._catalogue.alike(
                self._catalogue.places_of(EMPTY_HISTORY, item_id), n + len(filling.item_ids)
            )
            filling.extend_named(ids, scores, model.items if model is not None else None, "alike")
        return tuple(Suggestion(found, score) for found, score in zip(filling.item_ids, filling.scores, strict=True))

    def rerank(
        self,
        candidates: Sequence[str],
        request: RecommendRequest,
        history: History,
        now_ms: int,
        time_left_ms: float,
    ) -> Reranked:
        """A shop's own candidates in the order that suits the visitor; of `request` what they see, and expressions.

        Raises:
            ExpressionError: a filter or booster of the request cannot be read.
        """
        model = self._model
        narrowed = self._narrowing.of(request, model, now_ms)
        prefix = _NO_PREFIX
        if model is not None:
            prefix = prefix_of(model.items, history, request, now_ms, items_max=self._settings.sequence_items_max)
        in_time = self._ladder.p99_ms(BLEND) <= time_left_ms
        return reranked(candidates, model, prefix, narrowed, self._catalogue.availability, in_time=in_time)

    def compile_kernels(self) -> None:
        """Compile (or load from the cache) what answers need, so that the first one is not slow."""
        compile_all()

    def _question(self, request: RecommendRequest, history: History, in_force: InForce, now_ms: int) -> Question:
        """As all lists are asked that may take their time."""
        model, prefix, left_out = self._model, _NO_PREFIX, in_force.left_out
        if model is not None and len(model.items):
            prefix = prefix_of(model.items, history, request, now_ms, items_max=self._settings.sequence_items_max)
        return Question(
            request=request,
            history=history,
            model=model,
            catalogue=self._catalogue,
            fallbacks=self._fallbacks,
            prefix=prefix,
            rung=dearest(chain_of(request), prefix),
            now_ms=now_ms,
            in_cart=left_out.in_cart,
            forgiven=left_out.only_bought(),
            category=in_force.category,
        )

    def _because(self, question: Question, in_force: InForce, arranged: Arranged) -> list[tuple[Reason, ...]]:
        filling = self._policy.filling(question.request, in_force)
        blocked = filling.blocked(question.model.items) if question.model is not None else None
        slots = Slots(arranged.item_ids, arranged.scores, arranged.rungs)
        own = because(question, slots, depth=filling.depth, blocked=blocked)
        return [done + why for done, why in zip(arranged.reasons, own, strict=True)]

    def _measure(self, ranked: Ranked, rung: int, took_s: float) -> None:
        self._ladder.record(rung, took_s * 1e3)
        _seconds.observe(took_s)
        _answers.labels(ranked.served_by).inc()
        if ranked.degraded is not None:
            _degraded.labels(ranked.degraded).inc()


def served_by(rungs: Sequence[Rung]) -> Rung:
    """The list that gave the first item; pins and new items came from none."""
    return next((rung for rung in rungs if rung != "none"), "none")


def _ranked(
    arranged: Arranged,
    why: list[tuple[Reason, ...]] | None,
    model: LiveModel | None,
    degraded: str | None,
    kept: KeptAnswer | None,
) -> Ranked:
    version = model.version if model is not None else None
    ids, scores, rungs = arranged.item_ids, arranged.scores, arranged.rungs
    if not ids:
        return Ranked((), "none", degraded, version, arranged.rules, kept=kept)
    nothing = (None,) * len(ids)
    reasons: Iterable[tuple[Reason, ...]] = why if why is not None else ((),) * len(ids)
    suggestions = map(Suggestion, ids, scores, reasons, nothing, propensities_of(arranged))
    return Ranked(tuple(suggestions), served_by(rungs), degraded, version, arranged.rules, arranged.exploration, kept)


def _kept(question: Question, filling: Filling, arranged: Arranged) -> KeptAnswer | None:
    """What the answer was made of; None in all but those that are kept whole."""
    if filling.notes is None:
        return None
    items = question.model.items if question.model is not None else None
    return filling.notes.kept(question.prefix, items, arranged.exploration, arranged.given)


def _degraded_by(
    logic: Logic, arranged: Arranged, model: LiveModel | None, prefix: Prefix, short: Shortage | None
) -> str | None:
    """Why the answer does not begin with a list of its logic; None: it does."""
    if not arranged.item_ids:
        return "no-history" if logic in (Logic.RECENT, Logic.BUY_AGAIN) else "no-data"
    by = served_by(arranged.rungs)
    if by in OWN[logic] or by == "none":
        return short if by == "blend" else None
    if model is None or not len(model.items):
        return "no-model"
    if short is not None:
        return short
    if logic is Logic.PERSONAL:
        return "no-model" if len(prefix.rows) else "no-history"
    return "fallback"


def prefix_of(items: ItemTable, history: History, request: RecommendRequest, now_ms: int, *, items_max: int) -> Prefix:
    """The visitor's newest events on items the model knows, the page's own item as the newest of all.

    An event that teaches nothing (a removal, a search) is left out, and so is a repeat of the item before it: viewed,
    then put into the cart, is one step of the way.
    """
    rows: list[int] = []
    kinds: list[int] = []
    times_ms: list[int] = []
    page_row = items.row(request.item) if request.item is not None else None
    if page_row is not None:
        rows.append(page_row)
        kinds.append(int(Kind.VIEW))
        times_ms.append(now_ms)
    # As lists: a number of an array costs five times as much to get at.
    newest_first = zip(
        reversed(history.item_ids), history.kind[::-1].tolist(), history.time_ms[::-1].tolist(), strict=True
    )
    for item_id, kind, time_ms in newest_first:
        if len(rows) >= items_max:
            break
        row = items.row(item_id)
        if row is None or kind not in _TEACHING or (rows and rows[-1] == row):
            continue
        rows.append(row)
        kinds.append(kind)
        times_ms.append(time_ms)
    return Prefix(np.array(rows[::-1], np.int32), np.array(kinds[::-1], np.uint8), np.array(times_ms[::-1], np.int64))


_TEACHING = frozenset(np.flatnonzero(KIND_WEIGHT > 0).tolist())
_NO_PREFIX = Prefix(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))
