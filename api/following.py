"""`/v1/recommendations/{id}/next`: more of an answer, without what it and those before it have shown."""

import msgspec

from api.budget import Deadline
from api.question import RecommendationQuery
from api.served_answers import ServedAnswers
from api.suggestions import Recommendations, Suggestions
from api.visitors import Visitors

SHOWN_MAX = 1_000
"""Of a chain longer than this, what was shown first may come again."""


class Following:
    """Goes on from an answer."""

    def __init__(self, suggestions: Suggestions, served: ServedAnswers, visitors: Visitors) -> None:
        self._suggestions = suggestions
        self._served = served
        self._visitors = visitors

    async def __call__(
        self, recommendation_id: str, query: RecommendationQuery, *, first_byte_s: float
    ) -> Recommendations:
        """As `query` asks, but for the placement and page item of the answer with that id, and nothing it has shown.

        Raises:
            NotFoundError: no such answer for this visitor.
            UnavailableError: it is not in this process's memory, and the bus does not answer.
            And what `Suggestions.answer` raises.
        """
        left_s = Deadline(first_byte_s, query.budget_ms).left_ms() / 1000
        before = await self._served.find(
            recommendation_id, visitor_key=self._visitors.key(query.visitor), within_s=max(0.0, left_s / 2)
        )
        shown = (*before.shown_before, *before.item_ids)[-SHOWN_MAX:]
        asked = msgspec.structs.replace(query, placement=before.placement, item=before.item_id)
        return await self._suggestions.answer(asked, first_byte_s=first_byte_s, shown_before=shown)
