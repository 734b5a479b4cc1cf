"""One version of the model in memory: every list an answer may be made of, learning from the events it is handed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.models.item_table import ItemTable
from recommender.models.popularity import Popularity
from recommender.models.protocol import EMPTY, Blocked, Events, Model, Prefix, Scored
from recommender.models.transitions import Transitions
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot


class LiveModel:
    """The models of one version, over one numbering of the items. The same events give the same answers.

    Attributes:
        version: the `model_version`.
        items: which item is which row.
        newest_ms: time of the newest event learnt; popularity is read as of then, so that a shop whose last click is
            long ago (or a history replayed years later) keeps its order.
        changes: grows with every change, so that caches know when they are old.
    """

    def __init__(self, version: str, settings: LearnerSettings) -> None:
        self.version = version
        self.items = ItemTable()
        self.popularity = Popularity(
            half_life_ms=settings.popularity_half_life_ms, trend_half_life_ms=settings.trend_half_life_ms
        )
        self.transitions = Transitions()
        self.models: dict[str, Model] = {"popularity": self.popularity, "transitions": self.transitions}
        self.newest_ms = 0
        self.changes = 0

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, settings: LearnerSettings) -> "LiveModel":
        """The model a snapshot holds."""
        model = cls(snapshot.meta.version, settings)
        model.items = ItemTable(snapshot.item_ids)
        for name, part in model.models.items():
            prefix = f"{name}."
            part.load({key[len(prefix) :]: array for key, array in snapshot.arrays.items() if key.startswith(prefix)})
        model.newest_ms = int(snapshot.arrays["newest_ms"][0])
        return model

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of everything `from_snapshot` needs, named as in a snapshot."""
        arrays = {f"{name}.{key}": array for name, part in self.models.items() for key, array in part.state().items()}
        return {**arrays, "newest_ms": np.array([self.newest_ms], np.int64)}

    def learn(self, events: Events) -> None:
        """Learn events in order; new rows must have been added to `items` before."""
        if len(events.rows) == 0:
            return
        for part in self.models.values():
            part.update_many(events)
        self.newest_ms = max(self.newest_ms, int(events.times_ms.max()))
        self.changes += 1

    def personal(self, prefix: Prefix, n: int, blocked: Blocked) -> Scored:
        """What the blend suggests to a visitor with this history."""
        return self.transitions.scores(prefix, n, blocked)

    def neighbours(self, row: int, n: int, blocked: Blocked) -> Scored:
        """What goes with one item."""
        if row >= len(self.items):
            return EMPTY
        prefix = Prefix(np.array([row], np.int32), np.ones(1, np.uint8), np.array([self.newest_ms], np.int64))
        return self.transitions.scores(prefix, n, blocked)
