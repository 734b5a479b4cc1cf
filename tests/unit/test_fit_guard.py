"""A worse fit is not served: refused where it can be told in time, else taken back."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated
from ingest.events import Event, Item
from recommender.fit_guard import judge
from recommender.incremental import LearningIals
from recommender.learner_fit import FitDone, FitJob
from recommender.learner_refits import FitRunner, Refits
from recommender.learner_state import LearnerState
from recommender.models.ials import Fit, fit_ials, session_matrix
from recommender.settings import LearnerSettings

_NOW_MS = 1_700_000_000_000
_SETTINGS = LearnerSettings(
    factors=16, iterations=4, refit_ms=100, refit_events_min=1_000, score_events_per_flush_max=20, guard_events_min=60
)


class Shop:
    """Visitors who each look around in one of thirty rooms of five items, and a learner that follows them."""

    def __init__(self) -> None:
        self._chance = random.Random(7)
        self._visitor = 0
        self._at = 0
        self.state = LearnerState(_SETTINGS, "v1")

    def visit(self, visitors: int) -> None:
        for _ in range(visitors):
            self._visitor += 1
            room = self._chance.randrange(30)
            for item in self._chance.sample(range(5), 4):
                self._click(f"item-{room}-{item}")
                self.state.flush(ask=True)

    def _click(self, item_id: str) -> None:
        self._at += 1
        key = self._visitor.to_bytes(16, "big")
        event = Event(f"m-{self._at}", "view_item", key.hex(), _NOW_MS + self._at, 0, (Item(item_id),))
        entry = Entry(key, b"{}", _NOW_MS, Position(self._at, 0, 0))
        self.state.take(Deduplicated(Delivery("events", 0, 1, _NOW_MS, (entry,)), [entry], [event], [], 0))


async def good(job: FitJob, *, folder: Path, ms_max: int) -> FitDone:
    return FitDone(fit_ials(session_matrix(job.events, items=job.items), job.parameters, threads=1), None)


async def bad(job: FitJob, *, folder: Path, ms_max: int) -> FitDone:
    """As if a fit had gone astray: vectors of the right size that mean nothing."""
    fit = (await good(job, folder=folder, ms_max=ms_max)).fit
    noise = np.random.default_rng(3)
    return FitDone(Fit(noise.normal(size=fit.item_vectors.shape).astype(np.float32), fit.session_vectors), None)


def slow(fit: Any, meanwhile: Any) -> FitRunner:
    """A fit during which visitors come."""

    async def run(job: FitJob, *, folder: Path, ms_max: int) -> FitDone:
        meanwhile()
        fitted: FitDone = await fit(job, folder=folder, ms_max=ms_max)
        return fitted

    return run


async def _until_judged(refits: Refits, state: LearnerState) -> bool:
    """Turn as the learner does until the fit has come to an end."""
    refits.turn(state)
    for _ in range(20_000):
        await asyncio.sleep(0.01)
        changed = refits.turn(state)
        if changed or refits.idle:
            return changed
    raise AssertionError("no end")


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    shop = Shop()
    shop.visit(400)
    assert await _until_judged(Refits(_SETTINGS, tmp_path, good), shop.state)
    return shop


async def test_a_fit_that_foretells_worse_is_refused_before_anybody_is_served_by_it(shop: Shop, tmp_path: Path) -> None:
    before = shop.state.model.ials
    refits = Refits(_SETTINGS, tmp_path, slow(bad, lambda: shop.visit(120)))

    changed = await _until_judged(refits, shop.state)

    assert not changed
    assert shop.state.model.ials is before


async def test_a_fit_that_foretells_as_well_is_served(shop: Shop, tmp_path: Path) -> None:
    before = shop.state.model.ials
    refits = Refits(_SETTINGS, tmp_path, slow(good, lambda: shop.visit(120)))

    assert await _until_judged(refits, shop.state)
    assert shop.state.model.ials is not before


async def test_in_a_quiet_shop_a_worse_fit_is_taken_back_and_what_came_meanwhile_is_learnt(
    shop: Shop, tmp_path: Path
) -> None:
    before = shop.state.model.ials
    refits = Refits(_SETTINGS, tmp_path, bad)
    assert await _until_judged(refits, shop.state)
    assert shop.state.model.ials is not before

    shop.visit(5)
    assert not refits.turn(shop.state)
    shop.visit(60)

    assert refits.turn(shop.state)
    assert shop.state.model.ials is before
    assert isinstance(before, LearningIals)
    np.testing.assert_array_equal(np.flatnonzero(before.changed_rows()), [])


async def test_the_online_score_knows_good_times_from_bad(shop: Shop, tmp_path: Path) -> None:
    shop.visit(100)

    figures = shop.state.score.figures(newest=100)

    assert figures["targets"] == 100
    assert figures["hr@20"] > 0.9


def test_too_few_events_say_nothing_and_a_small_loss_is_no_reason() -> None:
    assert judge([True] * 50, [False] * 50, targets_min=60).verdict == "unknown"
    assert judge([True] * 500, [True] * 492 + [False] * 8, targets_min=60).verdict == "fine"
    assert judge([True] * 500, [True] * 400 + [False] * 100, targets_min=60).verdict == "worse"
    assert judge([False] * 500, [True] * 500, targets_min=60).verdict == "fine"
