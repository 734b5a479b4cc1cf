"""What the placements of one page have shown already, so that no item stands on a page twice."""

from collections import OrderedDict

from prometheus_client import Counter

_forgotten = Counter(
    "afterclick_recommender_page_views_forgotten_total",
    "Pages whose shown items were dropped for newer ones before their time was over",
)


class PageViews:
    """The items of the latest pages, by placement; one thread.

    It knows what this process has answered. Where several processes answer a page's placements, `exclude` with the ids
    of the answers before is certain; a browser that keeps its connection stays with one process.

    Args:
        pages_max: the oldest is forgotten beyond it.
        ms_max: how long a page is remembered.
    """

    def __init__(self, *, pages_max: int, ms_max: int) -> None:
        self._pages_max = pages_max
        self._ms_max = ms_max
        self._pages: OrderedDict[tuple[str, str], tuple[int, dict[str, tuple[str, ...]]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pages)

    def shown_elsewhere(self, visitor: str, page_view_id: str, placement: str, now_ms: int) -> frozenset[str]:
        """Items of the page's other placements; asked again, a placement may show its own."""
        page = self._pages.get((visitor, page_view_id))
        if page is None or now_ms - page[0] > self._ms_max:
            return frozenset()
        return frozenset(item_id for name, shown in page[1].items() if name != placement for item_id in shown)

    def show(self, visitor: str, page_view_id: str, placement: str, item_ids: tuple[str, ...], now_ms: int) -> None:
        """`placement` shows `item_ids`, in place of what it showed before."""
        key = (visitor, page_view_id)
        page = self._pages.pop(key, None)
        placements = page[1] if page is not None and now_ms - page[0] <= self._ms_max else {}
        placements[placement] = item_ids
        self._pages[key] = (now_ms, placements)
        while len(self._pages) > self._pages_max:
            _, (shown_ms, _) = self._pages.popitem(last=False)
            if now_ms - shown_ms <= self._ms_max:
                _forgotten.inc()
