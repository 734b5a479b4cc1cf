"""One answer to a shop's question: the visitor's record, the ranking, the log, all within the budget."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from api.answers import ServedAnswer
from api.budget import Closing, Deadline
from api.catalog_table import SHOWN_PROPERTIES
from api.decided import Decided
from api.kept import is_kept
from api.metrics import ANSWERS
from api.question import RecommendationQuery, bad_expression, placement_of, request_of
from api.visitors import Known, Visitors
from recommender.errors import ExpressionError
from recommender.experiments import Variant, team_draft
from recommender.experiments.running import Assignment
from recommender.history import EMPTY_HISTORY, History
from recommender.kept_answer import KeptAnswer
from recommender.placements import Placement, Placements
from recommender.ranked import Rank, Ranked
from recommender.requests import Logic, RecommendRequest, Suggestion
from recommender.rotation import Rotation
from recommender.why_not import WhyNot

Properties = Callable[[str, Sequence[str]], dict[str, Any] | None]
"""Those facts of an item that are known, by name."""

RankedWithout = Callable[[str, RecommendRequest, History, int], WhyNot]
"""`why_not(item_id, request, history, now_ms)`: what keeps an item out of an answer."""

_NOBODY = "nobody"
_WARM_UP_MS = 1_000.0
# Making these columns takes a tenth of a second for 100,000 items; no visitor should wait for it.
_USUAL_FIELDS = "available or price > 0 or category == brand"


class Experiment(msgspec.Struct, frozen=True):
    """The experiment an answer belongs to."""

    id: str
    variant: str


class Recommendations(msgspec.Struct, frozen=True):
    """What `/v1/recommendations` answers.

    `degraded`: null, or why a cheaper rung answered. `took_ms`: since the request's first byte. `rules`: what of the
    policy took part, the shop's rules by their ids; only where `explain` asks.
    """

    recommendation_id: str
    placement: str
    items: tuple[Suggestion, ...]
    served_by: str
    degraded: str | None
    model_version: str | None
    experiment: Experiment | None
    took_ms: float
    rules: tuple[str, ...] | None = None


class Suggestions:
    """Composes what answers are made of.

    Args:
        rank, why_not: synchronous, without I/O.
        log: takes what was served; never waits.
        decided: knows the experiments and signs answers.
        kept_share: of the answers, those logged with what they were made of.
    """

    def __init__(
        self,
        *,
        visitors: Visitors,
        rank: Rank,
        why_not: RankedWithout,
        properties: Properties,
        log: Callable[[ServedAnswer], None],
        decided: Decided,
        placements: Placements,
        rotation: Rotation,
        kept_share: float = 0.0,
    ) -> None:
        self._visitors = visitors
        self._rank = rank
        self._why_not = why_not
        self._properties = properties
        self._log = log
        self._decided = decided
        self._placements = placements
        self._rotation = rotation
        self._kept_share = kept_share
        self._closing = Closing()
        # Rungs and reasons are few; looking a label up costs 1.5 µs each time.
        self._counter = functools.lru_cache(maxsize=64)(ANSWERS.labels)

    async def answer(
        self, query: RecommendationQuery, *, first_byte_s: float, shown_before: tuple[str, ...] = ()
    ) -> Recommendations:
        """Suggestions for `query`, due `budget_ms` after `first_byte_s`, without `shown_before`.

        Raises:
            InvalidParameterError: an unknown placement, a filter or booster that cannot be read.
            OverloadedError: too many requests, or the budget went by in the queue or before the answer was there: an
                answer that is sent is sent within its budget.
        """
        placement = placement_of(query.placement, self._placements)
        deadline = Deadline(first_byte_s, query.budget_ms)
        with self._visitors.admission:
            known = await self._visitors.read(query.visitor, deadline, query.budget_ms)
            assignment = self._decided.assign(query.placement, known.key)
            asked, other = query, None
            if assignment is not None:
                query = _in_variant(asked, assignment.variant)
                other = _in_variant(asked, assignment.other) if assignment.other is not None else None
            now_ms = time.time_ns() // 1_000_000
            keep = query.explain or is_kept(known.key, now_ms, share=self._kept_share)
            ranked = self._ranked(query, placement, known, shown_before, now_ms, deadline, keep=keep)
            kept = _kept(ranked)
            teams: tuple[int, ...] = ()
            if other is not None:
                second = self._ranked(other, placement, known, shown_before, now_ms, deadline, keep=keep)
                kept += _kept(second)
                ranked, teams = _drafted(ranked, second, seed=now_ms)
            ranked_ms = deadline.took_ms()
            if ranked_ms > query.budget_ms:
                raise self._visitors.admission.refusal("late", f"a budget of {query.budget_ms} ms spent in ranking")
        answer = self._finish(
            query, ranked, known, shown_before, teams, kept, assignment=assignment, now_ms=now_ms, deadline=deadline
        )
        self._closing.record(deadline.took_ms() - ranked_ms)
        return answer

    async def why_not(self, missing: str, query: RecommendationQuery, *, first_byte_s: float) -> WhyNot:
        """What keeps the item `missing` out of the answer to `query`; rotation aside.

        Raises:
            InvalidParameterError, OverloadedError: as `answer`.
        """
        placement = placement_of(query.placement, self._placements)
        with self._visitors.admission:
            known = await self._visitors.read(query.visitor, Deadline(first_byte_s, query.budget_ms), query.budget_ms)
            assignment = self._decided.assign(query.placement, known.key)
            if assignment is not None:
                query = _in_variant(query, assignment.variant)
            request = request_of(query, placement, worn={}, shown_before=())
            try:
                return self._why_not(missing, request, known.history, time.time_ns() // 1_000_000)
            except ExpressionError as error:
                raise bad_expression(error) from error

    async def warm_up(self) -> None:
        """Connect to the store and walk the ranking once, so that the first visitor does not wait for either."""
        await self._visitors.read(_NOBODY, Deadline(time.perf_counter(), round(_WARM_UP_MS)), round(_WARM_UP_MS))
        request = RecommendRequest(visitor=_NOBODY, filters=(_USUAL_FIELDS,))
        self._rank(request, EMPTY_HISTORY, time.time_ns() // 1_000_000, _WARM_UP_MS)

    def _ranked(
        self,
        query: RecommendationQuery,
        placement: Placement,
        known: Known,
        shown_before: tuple[str, ...],
        now_ms: int,
        deadline: Deadline,
        *,
        keep: bool,
    ) -> Ranked:
        rotates, worn = query.rotation_rate > 0, {}
        if rotates:
            recovery_ms = round(query.rotation_time * 1000) or 1
            worn = self._rotation.worn(known.key, now_ms=now_ms, rate=query.rotation_rate, recovery_ms=recovery_ms)
        try:
            request = request_of(query, placement, worn=worn, shown_before=shown_before, keep=keep)
            left_ms = deadline.left_ms() - self._closing.p99_ms
            waiting = self._visitors.admission.in_flight
            ranked = self._rank(request, known.history, now_ms, left_ms, waiting=waiting)
        except ExpressionError as error:
            raise bad_expression(error) from error
        if rotates:
            self._rotation.remember(known.key, [item.id for item in ranked.items], now_ms=now_ms)
        return ranked

    def _finish(
        self,
        query: RecommendationQuery,
        ranked: Ranked,
        known: Known,
        shown_before: tuple[str, ...],
        teams: tuple[int, ...],
        kept: tuple[KeptAnswer, ...],
        *,
        assignment: Assignment | None,
        now_ms: int,
        deadline: Deadline,
    ) -> Recommendations:
        degraded = ranked.degraded if known.answered else "store-unavailable"
        items = (
            described(ranked.items, query.included_properties, self._properties)
            if query.return_properties
            else ranked.items
        )
        took_ms = round(deadline.took_ms(), 2)
        item_ids = tuple([item.id for item in items])
        served = ServedAnswer(
            recommendation_id=self._decided.sign(
                item_ids,
                served_ms=now_ms,
                visitor_key=known.key,
                placement=query.placement,
                assignment=assignment,
                model_version=ranked.model_version,
                teams=teams,
            ),
            visitor_key=known.key.hex(),
            placement=query.placement,
            time_ms=now_ms,
            item_ids=item_ids,
            scores=tuple([item.score for item in items]),
            served_by=ranked.served_by,
            degraded=degraded,
            model_version=ranked.model_version,
            item_id=query.item,
            variant=assignment.label if assignment is not None else None,
            took_ms=took_ms,
            rules=ranked.rules,
            shown_before=shown_before,
            propensities=propensities_of(items),
            exploration=ranked.exploration,
            kept=kept,
        )
        self._log(served)
        self._counter(ranked.served_by, degraded or "").inc()
        return Recommendations(
            served.recommendation_id,
            query.placement,
            items,
            ranked.served_by,
            degraded,
            ranked.model_version,
            Experiment(assignment.experiment_id, assignment.variant_name) if assignment is not None else None,
            took_ms,
            ranked.rules if query.explain else None,
        )


def _kept(ranked: Ranked) -> tuple[KeptAnswer, ...]:
    return (ranked.kept,) if ranked.kept is not None else ()


def _drafted(first: Ranked, second: Ranked, *, seed: int) -> tuple[Ranked, tuple[int, ...]]:
    """Both lists as one, and by item whose it was."""
    lists = ({item.id: item for item in first.items}, {item.id: item for item in second.items})
    draft = team_draft(list(lists[0]), list(lists[1]), len(first.items), seed=seed)
    items = [lists[team][item_id] for item_id, team in zip(draft.item_ids, draft.teams, strict=True)]
    rules = tuple(dict.fromkeys(first.rules + second.rules))
    return msgspec.structs.replace(first, items=tuple(items), rules=rules), draft.teams


def _in_variant(query: RecommendationQuery, variant: Variant | None) -> RecommendationQuery:
    """The question as a variant has it; in the holdout (None) it is what anybody is shown."""
    if variant is None:
        item = (query.item,) if query.item is not None else ()
        return msgspec.structs.replace(query, logic=Logic.TRENDING, item=None, exclude=(*query.exclude, *item))
    if variant.logic is None and variant.diversity is None:
        return query
    return msgspec.structs.replace(
        query,
        logic=query.logic if variant.logic is None else variant.logic,
        diversity=query.diversity if variant.diversity is None else variant.diversity,
    )


def propensities_of(items: Sequence[Suggestion]) -> tuple[float | None, ...]:
    """By slot; empty where chance had no say in any."""
    found = [item.propensity for item in items]
    return tuple(found) if any(each is not None for each in found) else ()


def described(
    items: Sequence[Suggestion], included_properties: Sequence[str], properties: Properties
) -> tuple[Suggestion, ...]:
    """`items` with their facts; an item nobody described has none."""
    names = included_properties or SHOWN_PROPERTIES
    return tuple([msgspec.structs.replace(item, properties=properties(item.id, names) or {}) for item in items])
