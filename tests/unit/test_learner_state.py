"""What the learner takes from the log, and what it leaves out."""

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated
from ingest.events import Event, EventName, Item
from recommender.errors import DeltaRefusedError
from recommender.learner_interactions import Interactions
from recommender.learner_sessions import Sessionizer
from recommender.learner_state import LearnerState
from recommender.learner_teaching import event_deltas
from recommender.live_model import LiveModel
from recommender.model_parameters import parameters_of
from recommender.model_version import version_at
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events
from recommender.settings import LearnerSettings
from recommender.snapshot import Snapshot, SnapshotMeta
from recommender.tuned_parameters import Tuned

_NOW_MS = 1_700_000_000_000


def _take(state: LearnerState, at: int, *item_ids: str, name: EventName = "view_item", time_ms: int = _NOW_MS) -> None:
    event = Event(f"message-{at}", name, "00" * 16, time_ms, time_ms, tuple(map(Item, item_ids)))
    entry = Entry(bytes(16), b"{}", time_ms, Position(at, 0, 0))
    state.take(Deduplicated(Delivery("events", 0, 1, time_ms, (entry,)), [entry], [event], [], 0))


def test_learns_every_item_of_an_event_and_numbers_them_as_they_come() -> None:
    state = LearnerState(LearnerSettings(), "v1")

    _take(state, 1, "a", "b")
    learnt = state.flush()

    assert learnt.item_ids == ("a", "b")
    assert learnt.events.rows.tolist() == [0, 1]


def test_skips_what_it_has_taken_before() -> None:
    state = LearnerState(LearnerSettings(), "v1")
    _take(state, 2, "a")

    _take(state, 1, "b")
    _take(state, 2, "b")

    assert state.flush().item_ids == ("a",)
    assert state.positions == {0: Position(2, 0, 0)}


@pytest.mark.parametrize("name", ["search", "view_item_list", "page_view", "remove_from_cart"])
def test_is_taught_nothing_by_an_event_without_weight_but_passes_it(name: EventName) -> None:
    state = LearnerState(LearnerSettings(), "v1")

    _take(state, 1, "a", name=name)

    assert len(state.flush().events.rows) == 0
    assert state.positions == {0: Position(1, 0, 0)}


def test_leaves_out_new_items_beyond_the_limit_and_goes_on_with_known_ones() -> None:
    state = LearnerState(LearnerSettings(items_max=2), "v1")

    _take(state, 1, "a", "b", "c", "a")

    assert state.flush().events.rows.tolist() == [0, 1, 0]
    assert len(state.model.items) == 2


def test_one_visitor_teaches_no_more_than_the_cap_in_an_hour() -> None:
    state = LearnerState(LearnerSettings(visitor_events_per_hour_max=3), "v1")

    for at in range(1, 11):
        _take(state, at, f"item-{at}")
    _take(state, 11, "item-11", time_ms=_NOW_MS + 3_600_000)

    assert len(state.flush().events.rows) == 4


def test_one_visitor_teaches_of_one_item_two_events_a_day_and_what_a_customer_does_once() -> None:
    state = LearnerState(LearnerSettings(), "v1")
    names: tuple[EventName, ...] = ("view_item", "view_item", "view_item", "add_to_cart", "purchase", "purchase")

    for at, name in enumerate(names, 1):
        _take(state, at, "a", name=name)
    today = state.flush()
    _take(state, 7, "a", time_ms=_NOW_MS + 86_400_000)

    assert today.events.kinds.tolist() == [1, 1, 3, 5]
    assert today.votes.gains.tolist() == [1, 0, 1, 1]
    assert today.votes.firsts.tolist() == [1, 0, 0, 0]
    assert len(state.flush().events.rows) == 1


def test_times_made_up_give_no_new_allowance() -> None:
    state = LearnerState(LearnerSettings(), "v1")

    for at in range(1, 201):
        _take(state, at, "a", time_ms=_NOW_MS - (at % 2) * 20 * 3_600_000)

    assert len(state.flush().events.rows) == 2


def test_who_sends_what_no_person_could_is_not_listened_to_for_the_rest_of_the_day() -> None:
    state = LearnerState(LearnerSettings(visitor_events_per_hour_max=3), "v1")
    for at in range(1, 14):
        _take(state, at, f"item-{at}")

    _take(state, 14, "later", time_ms=_NOW_MS + 3_600_000)
    taught = len(state.flush().events.rows)
    _take(state, 15, "tomorrow", time_ms=_NOW_MS + 86_400_000)

    assert taught == 3
    assert len(state.flush().events.rows) == 1


def test_a_snapshot_from_before_allowances_were_kept_is_loaded() -> None:
    sessions = Sessionizer(visitors_max=10, idle_ms=1_000, hourly_max=100)
    sessions.admit(b"v" * 16, 0, Kind.VIEW, 0)
    state = sessions.state()
    older = {"keys": state["keys"], "numbers": state["numbers"][:, :4], "next_session": state["next_session"]}

    later = Sessionizer(visitors_max=10, idle_ms=1_000, hourly_max=100)
    later.load(older)

    assert later.admit(b"v" * 16, 0, Kind.VIEW, 500) == (0, 1, True)


def test_a_pause_begins_a_new_session_and_a_short_one_does_not() -> None:
    sessions = Sessionizer(visitors_max=10, idle_ms=1_000, hourly_max=100)

    times_ms = (0, 1_000, 2_001, 2_500, 500)
    admitted = [sessions.admit(b"v" * 16, row, Kind.VIEW, time_ms) for row, time_ms in enumerate(times_ms)]

    assert [each.session for each in admitted if each is not None] == [0, 0, 1, 1, 2]


def test_forgets_whoever_was_silent_longest() -> None:
    sessions = Sessionizer(visitors_max=2, idle_ms=1_000, hourly_max=100)
    for key in (b"a" * 16, b"b" * 16, b"a" * 16, b"c" * 16):
        sessions.admit(key, 0, Kind.VIEW, 0)

    assert len(sessions) == 2
    assert sessions.admit(b"a" * 16, 1, Kind.VIEW, 0) == (0, 1, True)
    assert sessions.admit(b"b" * 16, 1, Kind.VIEW, 0) == (3, 1, True)


def test_interactions_keep_the_newest_in_order() -> None:
    ring = Interactions(5)
    for begin in (0, 3, 7):
        numbers = np.arange(begin, begin + 4)
        ring.append(Events(numbers, numbers.astype(np.int32), np.ones(4, np.uint8), numbers))

    assert ring.events().rows.tolist() == [6, 7, 8, 9, 10]
    assert ring.events(since=10).rows.tolist() == [9, 10]
    assert len(ring) == 5


def test_a_replica_refuses_a_delta_of_another_version_and_changes_nothing() -> None:
    state = LearnerState(LearnerSettings(), "v1")
    _take(state, 1, "a")
    (delta,) = event_deltas(state, state.flush(), _NOW_MS)
    replica = LiveModel("v2", state.model.parameters)

    with pytest.raises(DeltaRefusedError, match="v2"):
        list(replica.apply(delta))

    assert len(replica.items) == 0
    assert replica.sequence == 0


def test_a_replica_refuses_a_delta_that_is_not_the_next() -> None:
    state = LearnerState(LearnerSettings(), "v1")
    deltas = []
    for at in (1, 2):
        _take(state, at, f"item-{at}")
        deltas += event_deltas(state, state.flush(), _NOW_MS)
    replica = LiveModel("v1", state.model.parameters)

    with pytest.raises(DeltaRefusedError, match="wanted v1/1; got v1/2"):
        list(replica.apply(deltas[1]))
    list(replica.apply(deltas[0]))
    list(replica.apply(deltas[1]))

    assert list(replica.items.ids) == ["item-1", "item-2"]


def test_a_learner_fits_as_was_tuned_unless_it_is_told_otherwise() -> None:
    assert parameters_of(LearnerSettings()).ials == IalsParameters()


def test_a_learner_begins_and_goes_on_with_what_a_search_found() -> None:
    tuned = Tuned(transitions={"decay": 0.5}, ials={"decay": 0.4})
    state = LearnerState(LearnerSettings(), "v1", tuned=tuned)
    _take(state, 1, "a")
    state.flush()
    meta = SnapshotMeta("v1", 0, 0, 1, {}, 2, None, parameters=LearnerState(LearnerSettings(), "v1").model.parameters)

    later = LearnerState(LearnerSettings(), "v2", Snapshot(meta, ("a",), state.arrays()), tuned=tuned)

    assert state.model.parameters.transitions.decay == later.model.transitions.parameters.decay == 0.5
    assert state.model.parameters.ials.decay == 0.4
    # Its vectors were fitted before; the next refit takes what was found.
    assert later.model.parameters.ials.decay == 1.0


def test_versions_grow_even_when_the_clock_steps_back() -> None:
    first = version_at(_NOW_MS, after=None)

    second = version_at(_NOW_MS - 60_000, after=first)

    assert first == "20231114T221320.000Z"
    assert second == "20231114T221320.001Z"


def _buys_monthly(state: LearnerState) -> None:
    for month in range(4):
        _take(state, 1 + month, "a", name="purchase", time_ms=_NOW_MS + month * 30 * 86_400_000)


def test_replicas_are_told_how_soon_items_are_bought_again_and_of_no_buyer() -> None:
    state = LearnerState(LearnerSettings(factors=8), "v1")
    replica = LiveModel("v1", state.model.parameters)
    _buys_monthly(state)

    deltas = event_deltas(state, state.flush(), _NOW_MS)
    for delta in deltas:
        list(replica.apply(delta))

    assert [delta.block for delta in deltas] == ["events", "intervals"]
    assert replica.buy_again.interval_ms(0) == state.model.buy_again.interval_ms(0) == pytest.approx(30 * 86_400_000)
    assert len(replica.buy_again.buyers()["sets"]) == 0


def test_a_snapshot_keeps_who_bought_what_and_an_erased_visitor_is_gone_from_it() -> None:
    state = LearnerState(LearnerSettings(factors=8), "v1")
    _buys_monthly(state)
    state.flush()
    meta = SnapshotMeta("v1", 0, 0, 1, {}, 2, None, parameters=state.model.parameters)

    restored = LearnerState(LearnerSettings(factors=8), "v1", Snapshot(meta, ("a",), state.arrays()))
    _take(restored, 9, "a", name="purchase", time_ms=_NOW_MS + 120 * 86_400_000)
    restored.flush()

    assert len(restored.model.buy_again.buyers()["sets"]) == 1
    assert restored.model.buy_again.block(np.zeros(1, np.int32))["intervals"][0, 0] == 4
    restored.forget_visitor(bytes(16))
    assert len(restored.model.buy_again.buyers()["sets"]) == 0
