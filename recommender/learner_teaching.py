"""Turn what a flush taught into deltas for the replicas."""

import time

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from recommender.learner_state import LearnerState, Learnt
from recommender.model_log import (
    EVENTS_BLOCK,
    EVENTS_MAX,
    FACTOR_ROWS_MAX,
    FACTORS_BLOCK,
    INTERVALS_BLOCK,
    Delta,
    encode_delta,
)
from recommender.model_publisher import ModelPublisher
from recommender.models.protocol import Rows, grown
from recommender.settings import LearnerSettings

_waiting_rows = Gauge(
    "afterclick_recommender_factor_rows_waiting", "Moved item vectors not yet published", multiprocess_mode="livesum"
)


def publish_learnt(state: LearnerState, publisher: ModelPublisher, now_ms: int) -> bool:
    """Learn what waits and queue it for the replicas, in pieces of at most `EVENTS_MAX` events. False: nothing does."""
    if not state.waiting and not state.unflushed_items:
        return False
    for delta in event_deltas(state, state.flush(ask=True), now_ms):
        publisher.add(delta.block, encode_delta(delta), delta.newest_event_ms)
    return True


def event_deltas(state: LearnerState, learnt: Learnt, now_ms: int) -> list[Delta]:
    """The deltas of one flush, each with the next sequence number of the model's version."""
    deltas = []
    for begin in range(0, max(1, len(learnt.events.rows)), EVENTS_MAX):
        end = begin + EVENTS_MAX
        columns = {**learnt.events._asdict(), **learnt.votes._asdict()}
        state.model.sequence += 1
        delta = Delta(
            version=state.model.version,
            sequence=state.model.sequence,
            block=EVENTS_BLOCK,
            made_at_ms=now_ms,
            arrays={name: column[begin:end] for name, column in columns.items()},
            newest_event_ms=learnt.newest_event_ms,
        )
        if begin == 0:
            delta = msgspec.structs.replace(delta, first_row=learnt.first_row, item_ids=learnt.item_ids)
        deltas.append(delta)
    return deltas + _interval_deltas(state, learnt, now_ms)


def _interval_deltas(state: LearnerState, learnt: Learnt, now_ms: int) -> list[Delta]:
    """What was learnt of intervals, absolutely: replicas do not know buyers, and so cannot learn it from the events."""
    rows, deltas = state.bought_rows(), []
    for begin in range(0, len(rows), EVENTS_MAX):
        state.model.sequence += 1
        deltas.append(
            Delta(
                version=state.model.version,
                sequence=state.model.sequence,
                block=INTERVALS_BLOCK,
                made_at_ms=now_ms,
                arrays=state.model.buy_again.block(rows[begin : begin + EVENTS_MAX]),
                newest_event_ms=learnt.newest_event_ms,
            )
        )
    return deltas


class FactorDeltas:
    """Which item vectors have moved and are still to be told; the rows take turns when they are too many."""

    def __init__(self, settings: LearnerSettings) -> None:
        self._interval_s = settings.publish_factors_ms / 1000
        self._rows_max = settings.publish_factor_rows_max
        self._moved: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._next_row = 0
        self._due_s = 0.0

    def due(self, state: LearnerState, now_ms: int) -> list[Delta]:
        """Deltas of the rows whose turn it is; none before the interval is over."""
        if time.monotonic() < self._due_s:
            return []
        self._due_s = time.monotonic() + self._interval_s
        moved = state.changed_rows()
        self._moved = grown(self._moved, len(state.model.items))
        self._moved[moved] = True
        rows = self._turn()
        return [
            self._delta(state, rows[at : at + FACTOR_ROWS_MAX], now_ms) for at in range(0, len(rows), FACTOR_ROWS_MAX)
        ]

    def forget(self) -> None:
        """A snapshot tells every row."""
        self._moved[:] = False

    def _turn(self) -> Rows:
        rows = np.flatnonzero(self._moved).astype(np.int32)
        begin = int(np.searchsorted(rows, self._next_row))
        turn = np.roll(rows, -begin)[: self._rows_max]
        if len(turn):
            self._next_row = int(turn[-1]) + 1
        self._moved[turn] = False
        _waiting_rows.set(len(rows) - len(turn))
        return turn

    def _delta(self, state: LearnerState, rows: Rows, now_ms: int) -> Delta:
        state.model.sequence += 1
        return Delta(
            version=state.model.version,
            sequence=state.model.sequence,
            block=FACTORS_BLOCK,
            made_at_ms=now_ms,
            arrays=state.model.ials.block(rows),
        )
