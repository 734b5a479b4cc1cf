"""Which items are new: described by the shop, and hardly looked at by anybody yet."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.catalogue import Catalogue
from recommender.live_model import LiveModel
from recommender.models.protocol import Rows
from recommender.new_items import weights_of

_ALIKE, _IN_TURN = 24, 8


class NewItemPool:
    """New items by place, found again when they are `refresh_ms` old; what was shown often enough is new no more.

    Args:
        events_max: decayed events from which on an item is no longer new.
        shown_max: times that this process has given it a slot.
    """

    def __init__(self, *, events_max: float, shown_max: int, refresh_ms: int) -> None:
        self._events_max = events_max
        self._shown_max = shown_max
        self._refresh_ms = refresh_ms
        self._places: Rows = np.empty(0, np.int32)
        self._known = np.zeros(0, np.bool_)
        self._shown: dict[int, int] = {}
        self._made_ms: int | None = None

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self, catalogue: Catalogue, model: LiveModel | None, now_ms: int) -> None:
        """Look again if it is due."""
        if self._made_ms is not None and 0 <= now_ms - self._made_ms < self._refresh_ms:
            return
        self._made_ms = now_ms
        described = catalogue.content.described
        if not len(described):
            return
        events = np.zeros(len(described), np.float32)
        if model is not None:
            counts = model.popularity.popular(model.newest_ms)
            places = catalogue.facts.places(model.items)[: len(counts)]
            inside = (places >= 0) & (places < len(events))
            events[places[inside]] = counts[: len(places)][inside]
        new = described & (events < self._events_max)
        # The counts are of items without clicks alone, and so as few as those.
        self._shown = {place: shown for place, shown in self._shown.items() if new[place]}
        new[[place for place, shown in self._shown.items() if shown >= self._shown_max]] = False
        self._places = np.flatnonzero(new).astype(np.int32)
        self._known = ~new

    def candidates(
        self,
        catalogue: Catalogue,
        asked: Rows,
        now_ms: int,
        passes: Callable[[str], bool],
        taken: Collection[str],
    ) -> tuple[Sequence[str], NDArray[np.float64]]:
        """Those most like what the visitor saw, and some whose turn it is; ids and weights of a draw.

        Args:
            asked: places that the visitor's newest items have.
            passes: may an item be suggested at all?
            taken: ids that are in the answer already.
        """
        ids, scores = catalogue.alike(asked, _ALIKE, self._known)
        found = dict(zip(ids, scores.tolist(), strict=True))
        turn = now_ms // 1000 * _IN_TURN
        for place in range(min(_IN_TURN, len(self._places))):
            item_id = catalogue.facts.items.item_id(int(self._places[(turn + place) % len(self._places)]))
            found.setdefault(item_id, 0.0)
        kept = [item_id for item_id in found if item_id not in taken and passes(item_id)]
        return kept, weights_of([found[item_id] for item_id in kept])

    def show(self, place: int | None) -> None:
        """An item got a slot."""
        if place is not None:
            self._shown[place] = self._shown.get(place, 0) + 1
