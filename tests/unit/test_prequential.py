"""Rank, then learn: small by hand, and on real clicks where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from recommender.evaluation.clicks import Spec, read_clicks
from recommender.evaluation.metrics import gains, standard_errors
from recommender.evaluation.prequential import run_prequential
from recommender.evaluation.targets import training_events
from recommender.incremental import LearningIals
from recommender.models.ials import Ials
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Events
from recommender.models.transitions import Transitions

CLICKS = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data")) / "yoochoose_100k" / "events.parquet"
DAY_MS = 86_400_000


def test_a_learning_model_knows_at_once_what_a_frozen_one_never_learns() -> None:
    sessions = np.repeat(np.arange(6), 2)
    rows = np.tile(np.array([0, 1], np.int32), 6)
    events = Events(sessions, rows, np.ones(12, np.uint8), np.arange(1, 13))

    run = run_prequential(
        {"frozen": Transitions(), "live": Transitions()},
        learning=frozenset({"live"}),
        events=events,
        items=2,
        begin=0,
    )

    assert run.ranks["frozen"].tolist() == [0] * 6
    assert run.ranks["live"].tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.datasets
@pytest.mark.skipif(not CLICKS.is_file(), reason=f"yoochoose_100k is not in AFTERCLICK_DATASETS ({CLICKS})")
def test_factors_alone_gain_from_every_click_on_real_clicks() -> None:
    items = ItemTable()
    events = training_events(read_clicks(Spec(CLICKS, ())), items)
    cut = int(np.searchsorted(events.times_ms, int(events.times_ms.min()) // DAY_MS * DAY_MS + 3 * DAY_MS))
    known = int(events.rows[:cut].max()) + 1
    live = LearningIals.fitted(Events(*(column[:cut] for column in events)), items=known)
    frozen = Ials(live.parameters, live.factors.live.copy())

    # Twelve thousand of the thirty-nine thousand events after the cut; the benchmark runs them all.
    part = Events(*(column[: cut + 12_000] for column in events))
    run = run_prequential(
        {"frozen": frozen, "live": live}, learning=frozenset({"live"}), events=part, items=len(items), begin=cut
    )

    gain = gains(run.ranks["live"]) - gains(run.ranks["frozen"])
    error = standard_errors(gain, run.clusters)[0]
    assert gain[:, 0].mean() > 2 * error
    first_seen_after = run.labels >= known
    assert first_seen_after.sum() > 100
    assert (run.ranks["live"][first_seen_after] > 0).sum() > 20
    assert live.factors.live[known : int(part.rows.max()) + 1].any(axis=1).mean() > 0.5
