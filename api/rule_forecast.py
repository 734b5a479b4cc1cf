"""What a change of rules would earn at a placement: both pages of real visitors, under a click model of the past."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import msgspec

from api.answers import ServedAnswer
from api.errors import ConflictError, UnavailableError
from api.question import RecommendationQuery, placement_of, request_of
from api.rule_preview import CHANGES_MAX, Preview, changed_rules
from api.visitors import Visitors
from recommender.archive_counting import CountFailedError
from recommender.forecasting import ClickCounts, Forecast, draws_of, forecast
from recommender.merchandising import Ledger
from recommender.placements import PlacementName, Placements
from recommender.rule_set import RuleSet
from recommender.rules import Rule, RuleId

PAGES_MAX = 500
SHOWN_MIN = 1_000
"""Showings of single items below which a click model is a guess."""

_DRAWS = 200
_HISTORY_MS = 100.0
_PAST_MS = 30 * 86_400_000
_SEED = 1

CountClicks = Callable[[str, int], Awaitable[ClickCounts]]
"""`count(placement, since_ms)`, from the archive; raises CountFailedError."""

Latest = Callable[[str, int], Sequence[ServedAnswer]]
"""`latest(placement, n)`: the newest answers that this process gave there."""


class ForecastQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What would change, and on how many pages of real visitors to look at it; `rules`, `without` as a preview's."""

    placement: PlacementName
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    without: Annotated[tuple[RuleId, ...], msgspec.Meta(max_length=CHANGES_MAX)] = ()
    pages: Annotated[int, msgspec.Meta(ge=10, le=PAGES_MAX)] = 200


class RuleForecast:
    """One at a time: it asks the recommender hundreds of times, between the requests of visitors."""

    def __init__(
        self,
        visitors: Visitors,
        preview: Preview,
        ledger: Ledger,
        placements: Placements,
        *,
        latest: Latest,
        count_clicks: CountClicks,
        retry_after_s: int,
    ) -> None:
        self._visitors = visitors
        self._preview = preview
        self._ledger = ledger
        self._placements = placements
        self._latest = latest
        self._count_clicks = count_clicks
        self._retry_after_s = retry_after_s
        self._alone = asyncio.Lock()

    async def forecast(self, asked: ForecastQuery) -> Forecast:
        """The forecast, for the newest visitors of the placement.

        Raises:
            InvalidParameterError: an unknown placement or rule.
            ConflictError: too little was shown there yet to say anything; names the counts.
            UnavailableError: the archive cannot be counted now.
        """
        placement_of(asked.placement, self._placements)
        before, after = changed_rules(self._ledger, asked.rules, asked.without)
        answers = self._latest(asked.placement, asked.pages)
        async with self._alone:
            counts = await self._counts(asked.placement)
            shown = sum(counts.shown)
            if shown < SHOWN_MIN or not answers:
                raise ConflictError(
                    "too_little_shown",
                    wanted=f"at least {SHOWN_MIN} showings of items in 30 days, and answers since this server started",
                    got=f"{shown} showings, {len(answers)} answers",
                    next_step="look at POST /v1/rules/preview, or ask again when visitors have come by",
                )
            pages = [await self._pages(answer, before, after) for answer in answers]
            draws = await asyncio.to_thread(draws_of, counts, draws=_DRAWS, seed=_SEED)
        return forecast([was for was, _ in pages], [will_be for _, will_be in pages], draws, shown=shown, seed=_SEED)

    async def _counts(self, placement: str) -> ClickCounts:
        try:
            return await self._count_clicks(placement, time.time_ns() // 1_000_000 - _PAST_MS)
        except CountFailedError as error:
            raise UnavailableError(
                "archive_unavailable",
                wanted="an archive that can be counted",
                got=str(error),
                next_step="look at the archive's log; ask again after Retry-After",
                retry_after_s=self._retry_after_s,
            ) from error

    async def _pages(self, answer: ServedAnswer, before: RuleSet, after: RuleSet) -> tuple[list[str], list[str]]:
        history, _ = await self._visitors.history(bytes.fromhex(answer.visitor_key), within_ms=_HISTORY_MS)
        query = RecommendationQuery("forecast", answer.placement, n=max(1, len(answer.item_ids)), item=answer.item_id)
        request = request_of(query, placement_of(answer.placement, self._placements), worn={}, shown_before=())
        now_ms = time.time_ns() // 1_000_000
        pages = [
            [item.id for item in self._preview(request, history, now_ms, rules).items] for rules in (before, after)
        ]
        # Visitors go first.
        await asyncio.sleep(0)
        return pages[0], pages[1]
