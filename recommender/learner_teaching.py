"""Turn what a flush taught into deltas for the replicas."""

import msgspec

from recommender.learner_state import LearnerState, Learnt
from recommender.model_log import EVENTS_BLOCK, EVENTS_MAX, Delta, encode_delta
from recommender.model_publisher import ModelPublisher
from recommender.models.protocol import Events


def publish_learnt(state: LearnerState, publisher: ModelPublisher, now_ms: int) -> None:
    """Learn what waits and queue it for the replicas, in pieces of at most `EVENTS_MAX` events."""
    if not state.waiting and not state.unflushed_items:
        return
    for delta in event_deltas(state, state.flush(), now_ms):
        publisher.add(delta.block, encode_delta(delta), delta.newest_event_ms)


def event_deltas(state: LearnerState, learnt: Learnt, now_ms: int) -> list[Delta]:
    """The deltas of one flush, each with the next sequence number of the model's version."""
    deltas = []
    for begin in range(0, max(1, len(learnt.events.rows)), EVENTS_MAX):
        sessions, rows, kinds, times_ms = learnt.events
        end = begin + EVENTS_MAX
        events = Events(sessions[begin:end], rows[begin:end], kinds[begin:end], times_ms[begin:end])
        state.model.sequence += 1
        delta = Delta(
            version=state.model.version,
            sequence=state.model.sequence,
            block=EVENTS_BLOCK,
            made_at_ms=now_ms,
            arrays=events._asdict(),
            newest_event_ms=learnt.newest_event_ms,
        )
        if begin == 0:
            delta = msgspec.structs.replace(delta, first_row=learnt.first_row, item_ids=learnt.item_ids)
        deltas.append(delta)
    return deltas
