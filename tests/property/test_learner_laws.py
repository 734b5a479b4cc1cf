"""Laws of learning: a replica that follows equals the learner, and a restart changes nothing."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated
from ingest.events import Event, EventName, Item
from recommender.learner_state import LEARNER_BLOCKS, LearnerState
from recommender.learner_teaching import event_deltas
from recommender.live_model import LiveModel
from recommender.model_log import Delta, decode_message, encode_delta
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot, SnapshotMeta, read_snapshot, write_snapshot

_SETTINGS = LearnerSettings(sessions_max=100, interactions_max=1_000, visitors_max=5, visitor_events_per_hour_max=20)
_START_MS = 1_700_000_000_000

clicks = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 9),
        st.integers(0, 4_000_000),
        st.sampled_from(["view_item", "add_to_cart", "purchase", "search", "remove_from_cart"]),
    ),
    max_size=60,
)


def _delivery(number: int, visitor: int, item: int, time_ms: int, name: EventName) -> Deduplicated:
    key = visitor.to_bytes(16, "big")
    event = Event(f"message-{number}", name, key.hex(), _START_MS + time_ms, 0, (Item(f"item-{item}"),))
    entry = Entry(key, b"{}", event.time_ms, Position(number, 0, 0))
    return Deduplicated(Delivery("events", visitor % 2, 1, number, (entry,)), [entry], [event], [], 0)


def _snapshot(state: LearnerState) -> Snapshot:
    positions = {partition: str(at) for partition, at in state.positions.items()}
    meta = SnapshotMeta("v1", 0, 0, 1, positions, 2, None, state.model.sequence, state.model.parameters)
    return Snapshot(meta, tuple(state.model.items.ids), state.arrays())


def _same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(clicks, st.integers(0, 60), st.integers(1, 9))
def test_a_restart_from_a_snapshot_changes_nothing(made: list[tuple], cut: int, back: int) -> None:
    deliveries = [_delivery(number + 1, *click) for number, click in enumerate(made)]
    undisturbed = LearnerState(_SETTINGS, "v1")
    for delivery in deliveries:
        undisturbed.take(delivery)
        undisturbed.flush()

    first = LearnerState(_SETTINGS, "v1")
    for delivery in deliveries[:cut]:
        first.take(delivery)
    first.flush()
    with TemporaryDirectory() as folder:
        snapshot = read_snapshot(write_snapshot(Path(folder), _snapshot(first)))
    second = LearnerState(_SETTINGS, "v1", snapshot)
    # The bus delivers again what was not acknowledged, and the state skips it.
    for delivery in deliveries[max(0, cut - back) :]:
        second.take(delivery)
    second.flush()

    assert list(second.model.items.ids) == list(undisturbed.model.items.ids)
    _same(second.arrays(), undisturbed.arrays())


@settings(max_examples=40, deadline=None)
@given(clicks, st.integers(0, 60))
def test_a_replica_that_follows_equals_the_learner(made: list[tuple], cut: int) -> None:
    deliveries = [_delivery(number + 1, *click) for number, click in enumerate(made)]
    state = LearnerState(_SETTINGS, "v1")
    for delivery in deliveries[:cut]:
        state.take(delivery)
    state.flush()
    with TemporaryDirectory() as folder:
        snapshot = read_snapshot(write_snapshot(Path(folder), _snapshot(state)), without=LEARNER_BLOCKS)
    replica = LiveModel.from_snapshot(snapshot)

    for begin in range(cut, len(deliveries), 7):
        for delivery in deliveries[begin : begin + 7]:
            state.take(delivery)
        for delta in event_deltas(state, state.flush(), 0):
            found = decode_message(encode_delta(delta))
            assert isinstance(found, Delta)
            for _ in replica.apply(found):
                pass

    assert list(replica.items.ids) == list(state.model.items.ids)
    assert replica.sequence == state.model.sequence
    _same(replica.arrays(), state.model.arrays())
