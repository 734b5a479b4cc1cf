"""A replica that missed a delta does not go on as if nothing had happened."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from ingest.bus.contract import Bus, Record
from ingest.topics import MODEL
from recommender.history import EMPTY_HISTORY
from recommender.live_model import LiveModel
from recommender.model_choice import choose
from recommender.model_follower import ModelFollower
from recommender.model_log import EVENTS_BLOCK, Announcement, Delta, encode_announcement, encode_delta
from recommender.model_parameters import ModelParameters
from recommender.models.protocol import Events
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings
from recommender.snapshot import Snapshot, SnapshotMeta, write_snapshot

_VERSION = "20260101T000000.000Z"


def _delta(sequence: int) -> Delta:
    """Brings one new item, in the row before its number."""
    arrays = {
        "sessions": np.zeros(1, np.int64),
        "rows": np.array([sequence - 1], np.int32),
        "kinds": np.ones(1, np.uint8),
        "times_ms": np.full(1, 1_700_000_000_000, np.int64),
    }
    return Delta(_VERSION, sequence, EVENTS_BLOCK, 0, arrays, 0, sequence - 1, (f"item-{sequence}",))


async def _write(bus: Bus, folder: Path, model: LiveModel, checkpoint: int, *, version: str = _VERSION) -> None:
    meta = SnapshotMeta(
        version=version,
        checkpoint=checkpoint,
        made_at_ms=0,
        events_log_id=1,
        events_positions={},
        model_log_id=await bus.log_id(MODEL),
        model_position=None,
        sequence=model.sequence,
        parameters=model.parameters,
    )
    await asyncio.to_thread(write_snapshot, folder, Snapshot(meta, tuple(model.items.ids), model.arrays()))


async def _publish(bus: Bus, *deltas: Delta) -> None:
    for verdict in await bus.publish(MODEL, [Record(b"events", encode_delta(delta)) for delta in deltas]):
        assert not isinstance(verdict, Exception), verdict


async def test_a_repeat_is_skipped_and_a_missing_delta_may_come_late(
    events_bus: Bus, tmp_path: Path, until: Any
) -> None:
    await _write(events_bus, tmp_path, LiveModel(_VERSION, ModelParameters()), 0)
    recommender = Recommender(RecommenderSettings())
    stop = asyncio.Event()
    following = asyncio.create_task(ModelFollower(events_bus, recommender, tmp_path).run(stop))

    # As a publisher does that was refused the second of three: it sends the second and the third again.
    await _publish(events_bus, _delta(1), _delta(3), _delta(2), _delta(2), _delta(3), _delta(4))

    await until(lambda: recommender.model is not None and recommender.model.sequence == 4)
    assert recommender.model is not None
    assert list(recommender.model.items.ids) == ["item-1", "item-2", "item-3", "item-4"]
    stop.set()
    await following


async def test_a_delta_that_never_comes_is_made_up_for_by_the_next_snapshot(
    events_bus: Bus, tmp_path: Path, until: Any
) -> None:
    learnt = LiveModel(_VERSION, ModelParameters())
    await _write(events_bus, tmp_path, learnt, 0)
    recommender = Recommender(RecommenderSettings())
    stop = asyncio.Event()
    following = asyncio.create_task(ModelFollower(events_bus, recommender, tmp_path).run(stop))
    await _publish(events_bus, _delta(1), _delta(3))
    await until(lambda: recommender.model is not None and recommender.model.sequence == 1)

    for delta in (_delta(1), _delta(2), _delta(3)):
        list(learnt.apply(delta))
    await _write(events_bus, tmp_path, learnt, 1)
    await _publish(events_bus, _delta(4))
    reached = asyncio.create_task(until(lambda: recommender.model is not None and recommender.model.sequence == 4))
    while not reached.done():
        # Traffic goes on; the replica looks at its watch when something comes.
        await _publish(events_bus, _delta(4))
        await asyncio.sleep(0.1)
    await reached

    assert recommender.model is not None
    assert list(recommender.model.items.ids) == ["item-1", "item-2", "item-3", "item-4"]
    stop.set()
    await following


async def test_an_older_version_is_served_again_by_one_command_while_requests_go_on(
    events_bus: Bus, tmp_path: Path, until: Any
) -> None:
    older, newer = LiveModel(_VERSION, ModelParameters()), LiveModel("20260102T000000.000Z", ModelParameters())
    for model, item_id in ((older, "old"), (newer, "new")):
        model.items.add(item_id)
        one = np.zeros(1, np.int64)
        model.learn(Events(one, one.astype(np.int32), np.ones(1, np.uint8), np.full(1, 1_700_000_000_000)))
        await _write(events_bus, tmp_path, model, 0, version=model.version)
    recommender = Recommender(RecommenderSettings())
    stop = asyncio.Event()
    following = asyncio.create_task(ModelFollower(events_bus, recommender, tmp_path).run(stop))
    await until(lambda: recommender.model is not None and recommender.model.version == newer.version)

    await asyncio.to_thread(choose, tmp_path, _VERSION)
    answers: set[tuple[str, ...]] = set()

    def served() -> str | None:
        ranked = recommender.recommend(RecommendRequest("v", n=1), EMPTY_HISTORY, 1_700_000_000_000, 1_000.0)
        answers.add(tuple(item.id for item in ranked.items))
        return ranked.model_version

    await until(lambda: served() == _VERSION)
    # The learner announces another; who chose the older one is not overruled.
    announcement = Announcement("20260103T000000.000Z", "none.snapshot", 0)
    await events_bus.publish(MODEL, [Record(b"snapshot", encode_announcement(announcement))])
    await asyncio.sleep(0.5)
    assert served() == _VERSION
    await asyncio.to_thread(choose, tmp_path, "newest")
    await until(lambda: served() == newer.version)

    # Every request in between was answered, by one model or the other.
    assert answers == {("old",), ("new",)}
    stop.set()
    await following
