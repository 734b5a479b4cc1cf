"""A replica that missed a delta does not go on as if nothing had happened."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from ingest.bus.contract import Bus, Record
from ingest.topics import MODEL
from recommender.live_model import LiveModel
from recommender.model_follower import ModelFollower
from recommender.model_log import EVENTS_BLOCK, Delta, encode_delta
from recommender.model_parameters import ModelParameters
from recommender.recommender import Recommender
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


async def _write(bus: Bus, folder: Path, model: LiveModel, checkpoint: int) -> None:
    meta = SnapshotMeta(
        version=_VERSION,
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
