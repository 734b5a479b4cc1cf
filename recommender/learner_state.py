"""All that the learner knows: the model, who is browsing, what a refit learns from, and how far each log was read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge

from feature_store.kinds import KIND_OF_EVENT, Kind
from ingest.bus.contract import Position
from ingest.dedup import Deduplicated
from ingest.events import Event
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.learner_interactions import Interactions
from recommender.learner_sessions import Sessionizer
from recommender.live_model import LiveModel, block_of
from recommender.model_parameters import parameters_of
from recommender.models.popularity import Votes
from recommender.models.protocol import KIND_WEIGHT, Events
from recommender.online_score import OnlineScore
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot
from recommender.tuned_parameters import Tuned, tuned_parameters, with_tuned

LEARNER_BLOCKS = ("visitors", "interactions", "learning", "buyers")
"""Blocks of a snapshot that only a learner needs; replicas load it without them."""

# Beyond any calendar, and still far from overflowing the arrays: the log may have other writers than the collector.
_TIME_MS_END = 1 << 52

_learnt = Counter("afterclick_recommender_events_learnt_total", "Item events learnt from")
_items_refused = Counter(
    "afterclick_recommender_items_refused_total", "Events left out because the model has as many items as it may"
)
_items = Gauge("afterclick_recommender_items", "Items the learner knows", multiprocess_mode="max")


class Learnt(NamedTuple):
    """What one flush taught: the events, and the items that are new with them, in the rows from `first_row` on."""

    events: Events
    votes: Votes
    first_row: int
    item_ids: tuple[str, ...]
    newest_event_ms: int


class LearnerState:
    """A function of the log up to `positions`; takes deliveries, hands out what they taught.

    Attributes:
        model: the version that is served.
        positions: by partition of `events`, the last position whose effect is in.
        interactions: what a refit learns from.
        score: how well the served model foretells what comes.
        tuned: settings that a search found; refits use those of iALS, for vectors at hand were fitted with others.
        limits: of learning between refits.
    """

    def __init__(
        self,
        settings: LearnerSettings,
        version: str,
        snapshot: Snapshot | None = None,
        *,
        tuned: Tuned | None = None,
    ) -> None:
        self._settings = settings
        self.tuned = tuned if tuned is not None else Tuned()
        self._sessionizer = Sessionizer(
            visitors_max=settings.visitors_max,
            idle_ms=settings.session_idle_ms,
            hourly_max=settings.visitor_events_per_hour_max,
        )
        self.limits = IncrementalLimits(sessions_max=settings.factor_sessions_max)
        self.interactions = Interactions(settings.interactions_max)
        self.positions: dict[int, Position] = {}
        self.score = OnlineScore(per_flush=settings.score_events_per_flush_max)
        if snapshot is None:
            self.model = LiveModel(version, tuned_parameters(parameters_of(settings), self.tuned))
        else:
            self.model = LiveModel.from_snapshot(with_tuned(snapshot, self.tuned))
            self._sessionizer.load(block_of(snapshot.arrays, "visitors"))
            self.interactions.load(block_of(snapshot.arrays, "interactions"))
            self._load_learning(block_of(snapshot.arrays, "learning"))
            if buyers := block_of(snapshot.arrays, "buyers"):
                self.model.buy_again.set_buyers(buyers)
            self.positions = {key: Position.parse(text) for key, text in snapshot.meta.events_positions.items()}
        self.model.version = version
        self.model.sequence = 0
        self._flushed_items = len(self.model.items)
        self._newest_event_ms = 0
        self._waiting: list[tuple[int, int, int, int, int, bool]] = []
        self._purchases: list[tuple[int, int, int, int]] = []
        self._bought_rows: NDArray[np.int32] = np.empty(0, np.int32)

    @property
    def waiting(self) -> int:
        """Item events taken and not flushed."""
        return len(self._waiting)

    @property
    def unflushed_items(self) -> int:
        """New items since the last flush."""
        return len(self.model.items) - self._flushed_items

    def take(self, deduplicated: Deduplicated, *, positions_count: bool = True) -> None:
        """Take a delivery in; what is at or before its partition's position is skipped.

        `positions_count`: False for events of another log, whose positions say nothing here.
        """
        delivery = deduplicated.delivery
        known = self.positions.get(delivery.partition) if positions_count else None
        if known is not None and delivery.last <= known:
            return
        for entry, event in zip(deduplicated.entries, deduplicated.events, strict=True):
            if known is None or entry.position > known:
                self._take_event(entry.key, event)
        self._newest_event_ms = max(self._newest_event_ms, delivery.accepted_at_ms)
        if positions_count:
            self.positions[delivery.partition] = delivery.last

    def forget_visitor(self, visitor_key: bytes) -> None:
        """Drop what is held under the key of someone who was erased."""
        self._sessionizer.forget(visitor_key)
        self.model.buy_again.forget(_buyer(visitor_key))

    def flush(self, *, ask: bool = False) -> Learnt:
        """Learn what was taken since the last flush, and say what it was. `ask`: foretell some of it first."""
        columns = np.array(self._waiting, np.int64).reshape(len(self._waiting), 6)
        self._waiting.clear()
        events = Events(
            np.ascontiguousarray(columns[:, 0]),
            columns[:, 1].astype(np.int32),
            columns[:, 2].astype(np.uint8),
            np.ascontiguousarray(columns[:, 3]),
        )
        votes = Votes(columns[:, 4].astype(np.uint8), columns[:, 5].astype(np.uint8))
        first_row = self._flushed_items
        item_ids = tuple(self.model.items.ids[first_row:])
        self._flushed_items = len(self.model.items)
        if ask:
            self.score.ask(self.model, events, self.interactions.total)
        self.model.learn(events, votes)
        self._learn_intervals()
        self.interactions.append(events)
        _learnt.inc(len(events.rows))
        _items.set(self._flushed_items)
        return Learnt(events, votes, first_row, item_ids, self._newest_event_ms)

    def bought_rows(self) -> NDArray[np.int32]:
        """The items of whose intervals something was learnt since this was last asked."""
        rows, self._bought_rows = self._bought_rows, np.empty(0, np.int32)
        return rows

    def changed_rows(self) -> NDArray[np.int32]:
        """The items whose vectors moved since this was last asked."""
        ials = self.model.ials
        return ials.changed_rows() if isinstance(ials, LearningIals) else np.empty(0, np.int32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of everything, named as in a snapshot. Nothing may be waiting."""
        own: Mapping[str, Mapping[str, NDArray[Any]]] = {
            "visitors": self._sessionizer.state(),
            "interactions": self.interactions.state(),
            "buyers": self.model.buy_again.buyers(),
        }
        named = {f"{block}.{name}": array for block, arrays in own.items() for name, array in arrays.items()}
        model = self.model.arrays()
        # Replicas serve from the vectors alone; what moves them is kept apart, for replicas to leave out.
        learning = {name: array for name, array in model.items() if name.startswith("ials.") and name != "ials.vectors"}
        for name, array in learning.items():
            del model[name]
            named[name.replace("ials.", "learning.", 1)] = array
        return {**model, **named}

    def _load_learning(self, block: dict[str, NDArray[Any]]) -> None:
        if block:
            ials = LearningIals(self.model.parameters.ials, limits=self.limits)
            ials.load({**block, "vectors": self.model.ials.factors.live})
            self.model.replace_ials(ials)

    def _take_event(self, visitor_key: bytes, event: Event) -> None:
        kind = KIND_OF_EVENT.get(event.event)
        if kind is None or not KIND_WEIGHT[kind] or not 0 <= event.time_ms < _TIME_MS_END:
            return
        for item in event.items:
            row = self._row(item.item_id)
            if row is None:
                continue
            admitted = self._sessionizer.admit(visitor_key, row, kind, event.time_ms)
            if admitted is None:
                continue
            session, gain, first = admitted
            self._waiting.append((session, row, kind, event.time_ms, gain, first))
            if kind == Kind.PURCHASE:
                self._purchases.append((_buyer(visitor_key), row, kind, event.time_ms))

    def _learn_intervals(self) -> None:
        if self._purchases:
            buyers, rows, kinds, times_ms = np.array(self._purchases, np.int64).T
            self._purchases.clear()
            events = Events(buyers, rows.astype(np.int32), kinds.astype(np.uint8), times_ms)
            self.model.buy_again.update_many(events)
            self._bought_rows = np.union1d(self._bought_rows, events.rows)

    def _row(self, item_id: str) -> int | None:
        items = self.model.items
        row = items.row(item_id)
        if row is not None or len(items) < self._settings.items_max:
            return items.add(item_id) if row is None else row
        _items_refused.inc()
        return None


def _buyer(visitor_key: bytes) -> int:
    """Whose purchases belong together: 63 bits of the key, never published."""
    return int.from_bytes(visitor_key[:8], "little") >> 1
