"""One version of the model in memory: every list an answer may be made of, learning from the events it is handed."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.blend import Blend
from recommender.errors import DeltaRefusedError, RankerRefusedError
from recommender.model_log import EVENTS_BLOCK, FACTORS_BLOCK, INTERVALS_BLOCK, Delta
from recommender.model_parameters import ModelParameters
from recommender.models.bought_together import BoughtTogether
from recommender.models.buy_again import BuyAgain
from recommender.models.ials import Ials
from recommender.models.item_table import ItemTable
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity, Votes
from recommender.models.protocol import EMPTY, Blocked, Events, Model, Prefix, Rows, Scored
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions
from recommender.quantized import ServedIals
from recommender.ranker.features import FEATURES
from recommender.ranker.trees import Trees, default_trees, from_arrays, to_arrays
from recommender.served_blend import ServedBlend
from recommender.served_ranker import ServedRanker
from recommender.snapshot import Snapshot
from recommender.told import Told

# What fits into 0.2 ms between two requests on a slow core, all models together.
_EVENTS_SLICE = 16
_FACTOR_ROWS_SLICE = 8
_EVENT_FIELDS, _VOTE_FIELDS = Events._fields, Votes._fields

RANKER_BLOCK = "ranker"
"""Block of a snapshot that holds the ranker's trees."""

_trees_refused = Counter(
    "afterclick_recommender_trees_refused_total",
    "Trees of a snapshot that this version cannot walk; it ranks by the shipped ones",
)
_log = structlog.get_logger(__name__)


class LiveModel:
    """The models of one version, over one numbering of the items. The same deltas in order give the same answers.

    Attributes:
        version: the `model_version`.
        sequence: the last delta that is in.
        items: which item is which row.
        trees: of the ranker; the shipped ones until a refit brings others.
        newest_ms: time of the newest event learnt; popularity is read as of then, so that a shop whose last click is
            long ago (or a history replayed years later) keeps its order.
        changes: grows with every change, so that caches know when they are old.
    """

    def __init__(self, version: str, parameters: ModelParameters) -> None:
        self.version = version
        self.parameters = parameters
        self.sequence = 0
        self.items = ItemTable()
        self.popularity = Popularity(**msgspec.structs.asdict(parameters.popularity))
        self.transitions = Transitions(parameters.transitions)
        self.session_knn = SessionKnn(parameters.session_knn)
        self.bought_together = BoughtTogether(parameters.bought_together)
        self.buy_again = BuyAgain(parameters.buy_again)
        self.ials: Ials = ServedIals(parameters.ials)
        self.trees = default_trees()
        self._blend = self._blended()
        self._ranker = self._served_ranker()
        self.newest_ms = 0
        self.changes = 0

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> "LiveModel":
        """The model a snapshot holds."""
        model = cls(snapshot.meta.version, snapshot.meta.parameters)
        model.sequence = snapshot.meta.sequence
        model.items = ItemTable(snapshot.item_ids)
        for name, part in model.parts().items():
            # A snapshot written before a model was there teaches it nothing, and serves all the same.
            if block := block_of(snapshot.arrays, name):
                part.load(block)
        if intervals := block_of(snapshot.arrays, "buy_again"):
            model.buy_again.set_block(intervals)
        model.newest_ms = int(snapshot.arrays["newest_ms"][0])
        model.load_trees(block_of(snapshot.arrays, RANKER_BLOCK))
        return model

    def parts(self) -> dict[str, Model]:
        """Every model that learns, by the name of its block in a snapshot."""
        return {
            "popularity": self.popularity,
            "transitions": self.transitions,
            "session_knn": self.session_knn,
            "bought_together": self.bought_together,
            "ials": self.ials,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of everything `from_snapshot` needs, named as in a snapshot."""
        arrays = {f"{name}.{key}": array for name, part in self.parts().items() for key, array in part.state().items()}
        arrays |= {f"buy_again.{key}": array for key, array in self.buy_again.known().items()}
        arrays |= {f"{RANKER_BLOCK}.{key}": array for key, array in to_arrays(self.trees).items()}
        return {**arrays, "newest_ms": np.array([self.newest_ms], np.int64)}

    def learn(self, events: Events, votes: Votes | None = None) -> None:
        """Learn events in order; new rows must have been added to `items` before. `votes`: what popularity counts."""
        if len(events.rows) == 0:
            return
        for name, part in self.parts().items():
            if name != "popularity":
                part.update_many(events)
        self.popularity.update_many(events, votes)
        self.newest_ms = max(self.newest_ms, int(events.times_ms.max()))
        self.changes += 1

    def apply(self, delta: Delta) -> Iterator[None]:
        """Take in the next delta, a yield after each slice of at most 0.2 ms. Run it to its end before the next one.

        Raises:
            DeltaRefusedError: of another version, not the next one, or not fitting what is there; nothing is changed.
        """
        self._refuse_unfit(delta)
        for item_id in delta.item_ids:
            self.items.add(item_id)
        size = _EVENTS_SLICE if delta.block == EVENTS_BLOCK else _FACTOR_ROWS_SLICE
        for begin in range(0, len(delta.arrays["rows"]), size):
            arrays = {name: array[begin : begin + size] for name, array in delta.arrays.items()}
            if delta.block == EVENTS_BLOCK:
                votes = Votes(*(arrays[name] for name in _VOTE_FIELDS)) if "gains" in arrays else None
                self.learn(Events(*(arrays[name] for name in _EVENT_FIELDS)), votes)
            else:
                (self.buy_again if delta.block == INTERVALS_BLOCK else self.ials).set_block(arrays)
                self.changes += 1
            yield
        self.sequence = delta.sequence

    def personal(self, prefix: Prefix, n: int, blocked: Blocked) -> Scored:
        """What the blend suggests to a visitor with this history."""
        return self._blend.scores(prefix, n, blocked)

    def told(self, prefix: Prefix, n: int, below: int, blocked: Blocked, *, ranks: bool) -> Told:
        """What `ranked` or `personal` answers, the `below` rows that come next, and what the list is made of.

        Raises:
            TypeError: this is a learner's copy of the model.
        """
        maker = self._ranker if ranks else self._blend
        if not isinstance(maker, ServedRanker | ServedBlend):
            raise TypeError("wanted a model that serves; got a learner's own copy; ask `personal`")
        return maker.told(prefix, n, below, blocked)

    @property
    def ranks(self) -> bool:
        """Can `ranked` be asked? A learner's own copy of the model cannot."""
        return self._ranker is not None

    def ranked(self, prefix: Prefix, n: int, blocked: Blocked) -> Scored:
        """What the ranker suggests to a visitor with this history; nothing where nothing ranks."""
        return self._ranker.scores(prefix, n, blocked) if self._ranker is not None else EMPTY

    def rank_attributions(self, prefix: Prefix, rows: Rows, blocked: Blocked) -> NDArray[np.float64]:
        """Shape (len(rows), features): each feature's Shapley value in a row's log-odds; zeros where nothing ranks."""
        if self._ranker is None:
            return np.zeros((len(rows), len(FEATURES)))
        told: NDArray[np.float64] = self._ranker.attributions(prefix, rows, blocked)
        return told

    def use_trees(self, trees: Trees) -> None:
        """Rank by other trees from now on."""
        self.trees = trees
        self._ranker = self._served_ranker()
        self.changes += 1

    def load_trees(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Rank by the trees of a snapshot; by the shipped ones where it has none that this version can walk."""
        if not arrays:
            return
        try:
            self.use_trees(from_arrays(arrays))
        except RankerRefusedError as error:
            _trees_refused.inc()
            _log.warning("trees refused; ranking by the shipped ones", reason=str(error))

    def neighbours(self, row: int, n: int, blocked: Blocked) -> Scored:
        """What goes with one item."""
        if row >= len(self.items):
            return EMPTY
        prefix = Prefix(np.array([row], np.int32), np.ones(1, np.uint8), np.array([self.newest_ms], np.int64))
        return self.transitions.scores(prefix, n, blocked)

    def replace_ials(self, ials: Ials) -> None:
        """Serve from another fit; items it does not know have zero vectors until the learner solves them."""
        self.ials = ials
        self.ials.factors.reserve(len(self.items))
        # Its alpha may have been chosen by the size of the catalogue, and replicas must fold in with the same.
        self.parameters = msgspec.structs.replace(self.parameters, ials=ials.parameters)
        self._blend = self._blended()
        self._ranker = self._served_ranker()
        self.changes += 1

    def _blended(self) -> Blend | ServedBlend:
        # Popularity is no member: it would age every item's count in each answer, and the fallbacks fill with it.
        own, parameters = OwnSession(), self.parameters.blend
        if isinstance(self.ials, ServedIals):
            return ServedBlend(self.session_knn, self.transitions, self.ials, own, parameters)
        return Blend((self.session_knn, self.transitions, self.ials, own), parameters)

    def _served_ranker(self) -> ServedRanker | None:
        if not isinstance(self.ials, ServedIals):
            return None
        models = (self.session_knn, self.transitions, self.ials, OwnSession(), self.popularity)
        return ServedRanker(*models, self.trees, self.parameters.blend)

    def _refuse_unfit(self, delta: Delta) -> None:
        # Deltas of a version from before votes were told have none; a replica that catches up reads them too.
        told = {*_EVENT_FIELDS, *_VOTE_FIELDS} if "gains" in delta.arrays else set(_EVENT_FIELDS)
        wanted = {
            EVENTS_BLOCK: told,
            FACTORS_BLOCK: {"rows", "vectors"},
            INTERVALS_BLOCK: {"rows", "intervals"},
        }.get(delta.block)
        if delta.version != self.version or delta.sequence != self.sequence + 1:
            raise DeltaRefusedError(
                f"delta: wanted {self.version}/{self.sequence + 1}; got {delta.version}/{delta.sequence}"
            )
        if wanted is None or wanted != set(delta.arrays) or len({len(array) for array in delta.arrays.values()}) != 1:
            raise DeltaRefusedError(f"delta of block `{delta.block}`: wanted the arrays of a known block, equally long")
        if delta.item_ids and delta.first_row != len(self.items):
            raise DeltaRefusedError(f"delta: wanted new items from row {len(self.items)}; got {delta.first_row}")
        rows = delta.arrays["rows"]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self.items) + len(delta.item_ids):
            raise DeltaRefusedError(
                f"delta of block `{delta.block}`: wanted rows of known items; got up to {rows.max()}"
            )


def block_of(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one block of a snapshot, without its name."""
    prefix = f"{name}."
    return {key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)}
