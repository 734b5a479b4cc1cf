"""Turn a request and a visitor's history into an ordered list, by the dearest rung that the time allows."""

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from prometheus_client import Counter, Histogram

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.availability import Availability
from recommender.explain import because
from recommender.facts import Facts
from recommender.fallbacks import Fallbacks, remaining
from recommender.filters import Columns
from recommender.history import History
from recommender.kernels import compile_all
from recommender.ladder import Ladder
from recommender.live_model import LiveModel
from recommender.models.item_table import ItemTable
from recommender.models.protocol import KIND_WEIGHT, Blocked, Prefix, Scored
from recommender.narrowing import Narrowed, Narrowing
from recommender.policy import exclusions
from recommender.requests import MinRelevance, Ranked, RecommendRequest, Rung, Suggestion
from recommender.reranking import Reranked, reranked
from recommender.settings import RecommenderSettings

ExtraCandidates = Callable[[], Iterable[str]]
"""Catalogue ids, in a fixed order: what is suggested when the model knows too few items."""

_HIGH_RELEVANCE = 0.2
"""Of the best item's score; below it an item is there because n were asked for."""

_BLEND, _NEIGHBOURS, _TRENDING, _POPULAR = range(4)

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
        self._availability = Availability()
        self._narrowing = Narrowing(Columns(), refresh_ms=settings.trends_refresh_ms)
        self._fallbacks = Fallbacks(rows_max=settings.fallback_rows_max, refresh_ms=settings.trends_refresh_ms)
        self._ladder = Ladder()
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
        self._availability.set_available(item_id, available)

    @property
    def facts(self) -> Facts:
        """What the catalogue says, as `describe` told it."""
        return self._narrowing.columns.facts

    def describe(self, item_id: str, product: Product | None) -> None:
        """The catalogue's word, from now on; None: nothing is known of the item any more, so it is available."""
        self._availability.set_available(item_id, product is None or product.available)
        self._narrowing.columns.put(item_id, product)

    def recommend(self, request: RecommendRequest, history: History, now_ms: int, time_left_ms: float) -> Ranked:
        """`request.n` items whenever that many are eligible, each once, best first. No want of anything raises.

        Raises:
            ExpressionError: a filter or booster of the request cannot be read.
        """
        started_s = self._seconds()
        model = self._model
        left_out = exclusions(request, history, now_ms=now_ms, settings=self._settings).all()
        narrowed = self._narrowing.of(request, model, now_ms)
        filling = _Filling(request.n, left_out, self._availability, narrowed, request.min_relevance)
        prefix = _NO_PREFIX
        degraded = None
        rung = _POPULAR
        if model is not None and len(model.items):
            prefix = prefix_of(model.items, history, request, now_ms, items_max=self._settings.sequence_items_max)
            dearest, degraded = (_BLEND, None) if len(prefix.rows) else (_TRENDING, "no-history")
            rung = self._ladder.choose(time_left_ms, dearest=dearest)
            degraded = degraded if rung == dearest else "budget"
            self._fill(filling, model, prefix, rung, now_ms)
        if filling.missing and filling.takes_anything:
            filling.extend_ids(self._extra_candidates(), "popular")
        ranked = self._answer(request, filling, model, prefix, rung, degraded)
        self._measure(ranked, rung, self._seconds() - started_s)
        return ranked

    def similar(self, item_id: str, n: int) -> tuple[Suggestion, ...]:
        """What goes with one item, whoever asks; fewer than `n`, or none, when little is known of it."""
        model = self._model
        row = model.items.row(item_id) if model is not None else None
        if model is None or row is None:
            return ()
        filling = _Filling(n, frozenset((item_id,)), self._availability)
        seen = Prefix(np.array([row], np.int32), np.ones(1, np.uint8), np.array([model.newest_ms], np.int64))
        filling.extend(model.personal(seen, n, filling.blocked(model.items)), model.items, "neighbours")
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
        in_time = self._ladder.p99_ms(_BLEND) <= time_left_ms
        return reranked(candidates, model, prefix, narrowed, self._availability, in_time=in_time)

    def compile_kernels(self) -> None:
        """Compile (or load from the cache) what answers need, so that the first one is not slow."""
        compile_all()

    def _fill(self, filling: "_Filling", model: LiveModel, prefix: Prefix, rung: int, now_ms: int) -> None:
        """Ask the rungs from `rung` down until nothing is missing."""
        items, n = model.items, filling.depth
        blocked = filling.blocked(items)
        if rung == _BLEND:
            filling.extend(_personal(model, prefix, n, blocked), items, "blend")
        if filling.missing and rung <= _NEIGHBOURS and len(prefix.rows):
            filling.extend(model.neighbours(int(prefix.rows[-1]), n, filling.blocked(items)), items, "neighbours")
        if not filling.takes_anything:
            return
        if filling.missing:
            self._fallbacks.refresh(model, now_ms)
            if rung <= _TRENDING:
                filling.extend(self._fallbacks.trending(n, filling.blocked(items)), items, "trending")
        if filling.missing:
            filling.extend(self._fallbacks.popular(n, filling.blocked(items)), items, "popular")
        if filling.missing:
            rows = remaining(len(items), filling.missing, filling.blocked(items))
            filling.extend(Scored(rows, np.zeros(len(rows), np.float32)), items, "popular")

    def _answer(
        self,
        request: RecommendRequest,
        filling: "_Filling",
        model: LiveModel | None,
        prefix: Prefix,
        rung: int,
        degraded: str | None,
    ) -> Ranked:
        version = model.version if model is not None else None
        if not filling.item_ids:
            return Ranked((), "none", "no-data", version)
        served_by = filling.rungs[0]
        if degraded is None and served_by != "blend":
            degraded = "no-model"
        suggestions: Iterable[Suggestion]
        if request.explain:
            reasons = because(model, prefix, filling.item_ids, filling.rungs)
            suggestions = map(Suggestion, filling.item_ids, filling.scores, reasons)
        else:
            suggestions = map(Suggestion, filling.item_ids, filling.scores)
        return Ranked(tuple(suggestions), served_by, degraded, version)

    def _measure(self, ranked: Ranked, rung: int, took_s: float) -> None:
        self._ladder.record(rung, took_s * 1e3)
        _seconds.observe(took_s)
        _answers.labels(ranked.served_by).inc()
        if ranked.degraded is not None:
            _degraded.labels(ranked.degraded).inc()


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
    for index in range(len(history.item_ids) - 1, -1, -1):
        if len(rows) >= items_max:
            break
        row = items.row(history.item_ids[index])
        kind = int(history.kind[index])
        if row is None or KIND_WEIGHT[kind] <= 0.0 or (rows and rows[-1] == row):
            continue
        rows.append(row)
        kinds.append(kind)
        times_ms.append(int(history.time_ms[index]))
    return Prefix(np.array(rows[::-1], np.int32), np.array(kinds[::-1], np.uint8), np.array(times_ms[::-1], np.int64))


_NO_PREFIX = Prefix(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))


def _personal(model: LiveModel, prefix: Prefix, n: int, blocked: Blocked) -> Scored:
    """The blend without the item at hand: nobody goes from an item to itself. Popular, it may still fill up the end."""
    at_hand = prefix.rows[-1]
    was_blocked = bool(blocked[at_hand])
    blocked[at_hand] = True
    scored = model.personal(prefix, n, blocked)
    blocked[at_hand] = was_blocked
    return scored


class _Filling:
    """The answer while it is made: items in order, none twice, scores that never grow."""

    def __init__(
        self,
        n: int,
        left_out: frozenset[str],
        availability: Availability,
        narrowed: Narrowed | None = None,
        min_relevance: MinRelevance = "low",
    ) -> None:
        self.n = n
        self.depth = n if narrowed is None else narrowed.depth(n)
        self.takes_anything = min_relevance == "low"
        self._takes_from = _HIGH_RELEVANCE if min_relevance == "high" else 0.0
        self._narrowed = narrowed
        self.item_ids: list[str] = []
        self.scores: list[float] = []
        self.rungs: list[Rung] = []
        self._left_out = left_out
        self._availability = availability
        self._blocked: Blocked | None = None

    @property
    def missing(self) -> int:
        return self.n - len(self.item_ids)

    def blocked(self, items: ItemTable) -> Blocked:
        """True for what may not be suggested and for what is in the answer already."""
        if self._blocked is None:
            self._blocked = self._availability.blocked(items, self._left_out)
            if self._narrowed is not None:
                self._narrowed.block(self._blocked, items)
        return self._blocked

    def extend(self, scored: Scored, items: ItemTable, rung: Rung) -> None:
        if self._narrowed is not None:
            scored = self._narrowed.weighed(scored, items)
        rows, scores = scored.rows[: self.missing], scored.scores[: self.missing]
        if self._takes_from and len(rows):
            kept = scores >= scores[0] * self._takes_from
            rows, scores = rows[kept], scores[kept]
        if len(rows) == 0:
            return
        if self._blocked is not None:
            self._blocked[rows] = True
        # Lists of different rungs have different scales; each goes on below where the one before it ended.
        scale = 1.0 if not self.scores else self.scores[-1] / 2.0 / max(float(scores[0]), 1e-9)
        ids = items.ids
        self.item_ids += [ids[row] for row in rows.tolist()]
        self.scores += (scores.astype(np.float64) * scale).tolist()
        self.rungs += [rung] * len(rows)

    def extend_ids(self, item_ids: Iterable[str], rung: Rung) -> None:
        """Items no model knows, in the order given."""
        taken = self._left_out.union(self.item_ids)
        for item_id in item_ids:
            if not self.missing:
                return
            passes = self._narrowed is None or self._narrowed.passes(item_id)
            if passes and item_id not in taken and self._availability.available(item_id):
                taken |= {item_id}
                self.item_ids.append(item_id)
                self.scores.append(0.0)
                self.rungs.append(rung)
