"""A page before and after a change of rules, without anybody seeing the change."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from api.budget import Deadline
from api.errors import InvalidParameterError
from api.question import RecommendationQuery, bad_expression, placement_of, request_of
from api.visitors import Visitors
from recommender.errors import ExpressionError
from recommender.history import History
from recommender.merchandising import Ledger
from recommender.placements import Placements
from recommender.ranked import Ranked
from recommender.requests import RecommendRequest, Suggestion
from recommender.rule_set import RuleSet
from recommender.rules import Rule, RuleId

CHANGES_MAX = 100

Preview = Callable[[RecommendRequest, History, int, RuleSet], Ranked]
"""`preview(request, history, now_ms, rules)`: synchronous, without I/O."""


class PreviewQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look at, and what would change.

    Attributes:
        query: as `/v1/recommendations` is asked.
        rules: made, or in place of those of the same id.
        without: ids of rules that would be gone.
        at_ms: when to look, for rules with a schedule; None: now.
    """

    query: RecommendationQuery
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    without: Annotated[tuple[RuleId, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    at_ms: Annotated[int, msgspec.Meta(ge=0, le=1 << 52)] | None = None


class PreviewedPage(msgspec.Struct, frozen=True):
    """What would be shown. `rules`: every one that took part."""

    items: tuple[Suggestion, ...]
    rules: tuple[str, ...]


class PreviewAnswer(msgspec.Struct, frozen=True):
    """The page as it is and as it would be. `came`, `went`: items that only one of them has."""

    before: PreviewedPage
    after: PreviewedPage
    came: tuple[str, ...]
    went: tuple[str, ...]


class RulePreview:
    """Asks the recommender twice."""

    def __init__(self, visitors: Visitors, preview: Preview, ledger: Ledger, placements: Placements) -> None:
        self._visitors = visitors
        self._preview = preview
        self._ledger = ledger
        self._placements = placements

    async def look(self, asked: PreviewQuery, *, first_byte_s: float) -> PreviewAnswer:
        """Both pages, for the same visitor at the same instant.

        Raises:
            InvalidParameterError: an unknown placement, property or rule, or an expression that cannot be read.
            OverloadedError: too many requests.
        """
        query = asked.query
        placement = placement_of(query.placement, self._placements)
        rules, changed = changed_rules(self._ledger, asked.rules, asked.without)
        with self._visitors.admission:
            known = await self._visitors.read(query.visitor, Deadline(first_byte_s, query.budget_ms), query.budget_ms)
            now_ms = asked.at_ms if asked.at_ms is not None else time.time_ns() // 1_000_000
            # Without the page's id: what a preview shows is not shown to anybody.
            alone = msgspec.structs.replace(query, page_view_id=None)
            request = request_of(alone, placement, worn={}, shown_before=())
            try:
                before, after = (self._preview(request, known.history, now_ms, some) for some in (rules, changed))
            except ExpressionError as error:
                raise bad_expression(error) from error
        return _answer(before, after)


def changed_rules(ledger: Ledger, made: Sequence[Rule], without: Sequence[str]) -> tuple[RuleSet, RuleSet]:
    """The rules there are, and those there would be.

    Raises:
        InvalidParameterError: `without` names a rule that there is not.
    """
    rules = {document.id: document.body for document in ledger.documents("rule")}
    changed = {**rules, **{rule.rule_id: rule for rule in made}}
    for rule_id in without:
        if changed.pop(rule_id, None) is None:
            raise InvalidParameterError(
                "unknown_rule",
                wanted="`without` of rules that there are",
                got=rule_id,
                next_step="look at GET /v1/rules for those there are",
            )
    return RuleSet(rules.values()), RuleSet(changed.values())


def _answer(before: Ranked, after: Ranked) -> PreviewAnswer:
    was, will_be = [item.id for item in before.items], [item.id for item in after.items]
    return PreviewAnswer(
        PreviewedPage(before.items, before.rules),
        PreviewedPage(after.items, after.rules),
        came=tuple(item_id for item_id in will_be if item_id not in was),
        went=tuple(item_id for item_id in was if item_id not in will_be),
    )
