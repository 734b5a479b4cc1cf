"""The learner's fit process brings a ranker beside the factors, or says why it brings none."""

import asyncio
from pathlib import Path

import numpy as np

from recommender.learner_fit import FitDone, FitJob, run_fit
from recommender.model_parameters import ModelParameters
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events


def _walks(sessions: int, *, items: int = 40) -> Events:
    begins = np.random.default_rng(3).integers(0, items, sessions)
    rows = np.stack([begins, (begins + 1) % items, (begins + 2) % items, begins], axis=1)
    return Events(
        np.repeat(np.arange(sessions), 4),
        rows.ravel().astype(np.int32),
        np.ones(4 * sessions, np.uint8),
        np.arange(1, 4 * sessions + 1) * 1_000,
    )


def _fitted(events: Events, folder: Path) -> FitDone | None:
    job = FitJob(
        events=events,
        items=40,
        parameters=IalsParameters(factors=8, iterations=2, alpha=10.0),
        start=None,
        threads=1,
        sessions_max=100,
        ranked=ModelParameters(),
    )
    return asyncio.run(run_fit(job, folder=folder, ms_max=300_000))


def test_a_fit_brings_factors_and_a_ranker(tmp_path: Path) -> None:
    done = _fitted(_walks(2_000), tmp_path)

    assert done is not None
    assert done.fit.item_vectors.shape == (40, 8)
    assert done.trees is not None
    assert len(done.trees.leaves) > 0


def test_a_young_shop_gets_factors_and_keeps_the_ranker_it_has(tmp_path: Path) -> None:
    done = _fitted(_walks(60), tmp_path)

    assert done is not None
    assert done.fit.item_vectors.any()
    assert done.trees is None
