"""From an event on the bus to another suggestion in a serving process; over `kill -9` of the learner too."""

import asyncio
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.bus.contract import Bus, Record
from ingest.dedup import read_deduplicated
from ingest.events import Event, Item, encode_event
from ingest.settings import DedupSettings
from ingest.topics import EVENTS, MODEL
from recommender.history import History
from recommender.learner_state import LearnerState
from recommender.live_model import LiveModel
from recommender.model_follower import ModelFollower
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.settings import LearnerSettings, RecommenderSettings
from recommender.snapshot import newest_snapshot, snapshot_paths

_NOW_MS = 1_700_000_000_000


def _click(number: int, visitor: int, item: str, time_ms: int | None = None) -> Record:
    key = visitor.to_bytes(16, "big")
    time_ms = _NOW_MS + number * 100 if time_ms is None else time_ms
    event = Event(f"message-{number:08d}", "view_item", key.hex(), time_ms, time_ms, (Item(item),))
    return Record(key, encode_event(event), time_ms)


async def _publish(bus: Bus, records: list[Record]) -> None:
    for verdict in await bus.publish(EVENTS, records):
        assert not isinstance(verdict, Exception), verdict


def _follower(bus: Bus, model_dir: Path) -> tuple[Recommender, ModelFollower]:
    recommender = Recommender(RecommenderSettings())
    return recommender, ModelFollower(bus, recommender, model_dir)


def _served(recommender: Recommender, *viewed: str, n: int = 5) -> list[str]:
    history = History(viewed, np.full(len(viewed), _NOW_MS, np.int64), np.full(len(viewed), Kind.VIEW, np.uint8))
    return [item.id for item in recommender.recommend(RecommendRequest("v", n=n), history, _NOW_MS, 1_000.0).items]


@pytest.fixture
async def following(events_bus: Bus, tmp_path: Path) -> Any:
    recommender, follower = _follower(events_bus, tmp_path / "model")
    stop = asyncio.Event()
    task = asyncio.create_task(follower.run(stop))
    yield recommender
    stop.set()
    await task


async def test_what_visitors_do_changes_what_a_serving_process_suggests(
    events_bus: Bus, learner: Any, following: Recommender, until: Any
) -> None:
    learner.start()
    await _publish(events_bus, [_click(1, 1, "lamp"), _click(2, 1, "bulb")])
    await until(lambda: "bulb" in _served(following, "lamp"))

    await _publish(events_bus, [_click(10 + at, at // 2, ("lamp", "shade")[at % 2]) for at in range(4, 24)])

    await until(lambda: _served(following, "lamp")[0] == "shade")


@pytest.mark.parametrize("learner", [LearnerSettings(refit_events_min=300, factors=16, iterations=3)], indirect=True)
async def test_a_fit_comes_by_itself_and_new_items_get_vectors_by_their_first_clicks(
    events_bus: Bus, learner: Any, following: Recommender, until: Any
) -> None:
    chance = random.Random(7)
    records = [_click(at, at // 4, f"item-{chance.randrange(10)}") for at in range(400)]
    learner.start()
    await until(lambda: following.model is not None)
    first_version = following.model.version if following.model is not None else ""
    await _publish(events_bus, records)

    await until(lambda: following.model is not None and following.model.ials.factors.live.any())
    assert following.model is not None
    assert following.model.version > first_version

    await _publish(events_bus, [_click(1_000, 5_000, "item-3"), _click(1_001, 5_000, "brand-new")])
    await until(lambda: following.model is not None and "brand-new" in following.model.items)
    row = following.model.items.row("brand-new")
    assert row is not None
    await until(lambda: bool(following.model and following.model.ials.factors.live[row].any()))


@pytest.mark.faults
@pytest.mark.parametrize("learner", [LearnerSettings(refit=False, snapshot_ms=100, publish_ms=5)], indirect=True)
async def test_a_killed_learner_counts_nothing_twice_and_skips_nothing(
    events_bus: Bus, learner: Any, until: Any
) -> None:
    chance = random.Random(3)
    records = [_click(at, chance.randrange(40), f"item-{chance.randrange(25)}") for at in range(1_500)]
    # What a client sends again must not count again either, wherever the learner was killed.
    records += chance.sample(records, 100)

    version = ""
    for life in range(3):
        learner.start()
        await until(lambda version=version: _version(learner.model_dir) > version)
        version = _version(learner.model_dir)
        ours = records[life * 500 : (life + 1) * 500]
        await _publish(events_bus, ours[:200])
        await until(lambda: _checkpoints(learner.model_dir) > 0)
        # Killed with events taken that are in no snapshot, at another instant each time; the last ones come after.
        for begin in range(200, 400, 50):
            await _publish(events_bus, ours[begin : begin + 50])
        await asyncio.sleep(chance.random() * 0.2)
        learner.kill()
        await _publish(events_bus, ours[400:])
    learner.start()
    await _publish(events_bus, records[1_500:])
    expected = await _undisturbed(events_bus)
    await until(lambda: _positions(learner.model_dir) == expected.positions)
    learner.stop()

    snapshot = newest_snapshot(learner.model_dir)
    assert snapshot is not None
    found = LiveModel.from_snapshot(snapshot)
    assert set(found.items.ids) == set(expected.model.items.ids)
    _assert_same(_popularity(found), _popularity(expected.model))
    _assert_same(_transitions(found), _transitions(expected.model))


@pytest.mark.faults
@pytest.mark.parametrize("learner", [LearnerSettings(refit=False, snapshot_ms=100)], indirect=True)
async def test_an_altered_snapshot_is_passed_over_and_what_it_held_is_learnt_again(
    events_bus: Bus, learner: Any, following: Recommender, until: Any
) -> None:
    learner.start()
    await _publish(events_bus, [_click(1, 1, "a")])
    await until(lambda: _checkpoints(learner.model_dir) >= 1)
    await _publish(events_bus, [_click(2, 1, "b"), _click(3, 2, "c")])
    expected = await _undisturbed(events_bus)
    await until(lambda: _positions(learner.model_dir) == expected.positions)
    learner.kill()
    newest = next(snapshot_paths(learner.model_dir))
    newest.write_bytes(newest.read_bytes()[:-9])

    learner.start()

    before = following.model.version if following.model is not None else ""
    await until(lambda: following.model is not None and following.model.version > before)
    # What the older snapshot lacks comes as deltas once it is learnt again.
    await until(lambda: following.model is not None and set(following.model.items.ids) >= {"a", "b", "c"})
    assert following.model is not None
    assert len(following.model.items) == 3
    _assert_same(_popularity(following.model), _popularity(expected.model))


async def test_what_is_no_delta_of_this_version_is_passed_over(
    events_bus: Bus, learner: Any, following: Recommender, until: Any
) -> None:
    learner.start()
    await _publish(events_bus, [_click(1, 1, "a")])
    await until(lambda: following.model is not None and "a" in following.model.items)
    assert following.model is not None
    version = following.model.version

    await events_bus.publish(
        MODEL, [Record(b"x", b"not JSON"), Record(b"x", b'{"version":"other","block":"events","made_at_ms":1}')]
    )
    await _publish(events_bus, [_click(2, 1, "b")])

    await until(lambda: following.model is not None and "b" in following.model.items)
    assert following.model.version == version


async def _undisturbed(bus: Bus) -> LearnerState:
    state = LearnerState(LearnerSettings(refit=False), "expected")
    for partition in range(await bus.partitions(EVENTS)):
        reading = read_deduplicated(bus, EVENTS, partition, settings=DedupSettings(), until_now=True)
        async for deduplicated in reading:
            state.take(deduplicated)
    state.flush()
    return state


def _version(model_dir: Path) -> str:
    newest = next(snapshot_paths(model_dir), None)
    return newest.name.rsplit(".", 2)[0] if newest is not None else ""


def _checkpoints(model_dir: Path) -> int:
    """How many files the present version has beyond its first."""
    newest = next(snapshot_paths(model_dir), None)
    return int(newest.name.split(".")[-2]) if newest is not None else 0


def _positions(model_dir: Path) -> dict[int, Any]:
    snapshot = newest_snapshot(model_dir)
    if snapshot is None:
        return {}
    return LearnerState(LearnerSettings(refit=False), "x", snapshot).positions


def _popularity(model: LiveModel) -> dict[Any, float]:
    counts = model.popularity.popular(model.newest_ms)
    return {item_id: float(counts[row]) for row, item_id in enumerate(model.items.ids)}


def _transitions(model: LiveModel) -> dict[Any, float]:
    state, ids = model.transitions.state(), model.items.ids
    weights: dict[Any, float] = defaultdict(float)
    for row, (neighbours, values, time_ms) in enumerate(
        zip(state["neighbours"], state["weights"], state["times_ms"], strict=True)
    ):
        # Aged to one time: each row is as of its own newest event.
        ageing = 2.0 ** (-(model.newest_ms - time_ms) / model.parameters.transitions.half_life_ms)
        for neighbour, value in zip(neighbours, values, strict=True):
            if neighbour >= 0:
                weights[ids[row], ids[neighbour]] += float(value) * ageing
    return weights


def _assert_same(found: dict[Any, float], expected: dict[Any, float]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-4), key
