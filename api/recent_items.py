"""`/v1/visitors/{id}/recent`: what a visitor did last, newest first."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from api.budget import Deadline
from api.catalog_table import PROPERTIES, SHOWN_PROPERTIES
from api.errors import UnavailableError
from api.question import Properties
from api.suggestions import Properties as ReadProperties
from api.visitors import Visitors
from feature_store.kinds import KIND_OF_EVENT
from recommender.requests import BUDGET_MS_DEFAULT

N_MAX = 100
KNOWN = {
    "n": f"a whole number of 1 to {N_MAX}",
    "return_properties": "true or false",
    "included_properties": f"names of {', '.join(PROPERTIES)}, separated by commas",
}
LISTS = frozenset({"included_properties"})
_EVENT_OF_KIND = {int(kind): event for event, kind in KIND_OF_EVENT.items()}


class RecentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of it."""

    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = 20
    return_properties: bool = False
    included_properties: Properties = ()


class RecentItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item, with the newest thing that was done with it."""

    id: str
    event: str
    time_ms: int
    properties: dict[str, Any] | None = None


class RecentItems(msgspec.Struct, frozen=True):
    """Each item once, newest first; of the visitor's latest 100 events."""

    items: tuple[RecentItem, ...]


class Recent:
    """Reads it from the online store."""

    def __init__(self, visitors: Visitors, properties: ReadProperties, *, retry_after_s: int) -> None:
        self._visitors = visitors
        self._properties = properties
        self._retry_after_s = retry_after_s

    async def __call__(self, visitor: str, query: RecentQuery, *, first_byte_s: float) -> RecentItems:
        """The visitor's latest items.

        Raises:
            UnavailableError: the store did not answer.
        """
        deadline = Deadline(first_byte_s, BUDGET_MS_DEFAULT)
        with self._visitors.admission:
            known = await self._visitors.read(visitor, deadline, BUDGET_MS_DEFAULT)
        if not known.answered:
            raise UnavailableError(
                "store_unavailable",
                wanted="an online store that answers",
                got="no answer in time",
                next_step="ask again after Retry-After",
                retry_after_s=self._retry_after_s,
            )
        names = (query.included_properties or SHOWN_PROPERTIES) if query.return_properties else None
        newest: dict[str, RecentItem] = {}
        history = known.history
        for index in range(len(history.item_ids) - 1, -1, -1):
            item_id = history.item_ids[index]
            if item_id not in newest:
                event = _EVENT_OF_KIND.get(int(history.kind[index]), "view_item")
                properties = self._known(item_id, names)
                newest[item_id] = RecentItem(item_id, event, int(history.time_ms[index]), properties)
                if len(newest) == query.n:
                    break
        return RecentItems(tuple(newest.values()))

    def _known(self, item_id: str, names: Sequence[str] | None) -> dict[str, Any] | None:
        return None if names is None else self._properties(item_id, names) or {}
