"""When the factors are fitted again, and how the fit takes the place of the one before it."""

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import structlog

from ingest.task_ending import end_tasks
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.learner_fit import FitJob, run_fit
from recommender.learner_state import LearnerState
from recommender.model_parameters import parameters_of
from recommender.models.ials import Fit, IalsParameters, for_catalogue
from recommender.models.protocol import Events
from recommender.ranker.trees import Trees
from recommender.refit_gate import RefitGate
from recommender.settings import LearnerSettings
from recommender.tuned_parameters import tuned_parameters

# What comes in during a fit is learnt beside the live model; the last few events then in one go, in milliseconds.
_CLOSE_EVENTS = 200

_log = structlog.get_logger(__name__)


class _Fitted(NamedTuple):
    """A model fitted and caught up to the `total`-th interaction."""

    ials: LearningIals
    trees: Trees | None
    total: int


class Refits:
    """At most one fit at a time, in its own process.

    Args:
        folder: where a fit's input and output lie while it runs.
    """

    def __init__(self, settings: LearnerSettings, folder: Path) -> None:
        self._settings = settings
        self._gate = RefitGate(folder)
        self._folder = folder
        self._fit: asyncio.Task[_Fitted | None] | None = None
        self._fitted_total = 0
        self._due_s = 0.0

    def turn(self, state: LearnerState) -> bool:
        """Start a fit when one is due; True when one has just become the one that `state.model` holds."""
        if self._fit is None:
            if self._settings.refit and self._due(state) and self._admitted(state):
                self._fitted_total = state.interactions.total
                self._fit = asyncio.create_task(self._run(state))
            return False
        if not self._fit.done():
            return False
        fitted = self._fit.result()
        self._fit = None
        self._due_s = time.monotonic() + self._settings.refit_ms / 1000
        if fitted is None:
            return False
        fitted.ials.update_many(state.interactions.events(since=fitted.total))
        fitted.ials.changed_rows()
        state.model.replace_ials(fitted.ials)
        if fitted.trees is not None:
            state.model.use_trees(fitted.trees)
        _log.info("fitted", items=len(fitted.ials.factors), events=len(state.interactions))
        return True

    async def cancel(self) -> None:
        """End a fit that is under way."""
        await end_tasks(self._fit)

    def _due(self, state: LearnerState) -> bool:
        fresh = state.interactions.total - self._fitted_total
        return fresh >= self._settings.refit_events_min and time.monotonic() >= self._due_s

    def _admitted(self, state: LearnerState) -> bool:
        """Does what came since the last fit look as it used to? If not, the next try comes in its time."""
        admitted = self._gate.admits(
            state.interactions.events(since=self._fitted_total), now_ms=time.time_ns() // 1_000_000
        )
        if not admitted:
            self._due_s = time.monotonic() + self._settings.refit_ms / 1000
        return admitted

    async def _run(self, state: LearnerState) -> _Fitted | None:
        vectors = state.model.ials.factors.live
        wanted = tuned_parameters(parameters_of(self._settings), state.tuned).ials
        parameters = for_catalogue(wanted, len(state.model.items))
        begin = vectors.any() and vectors.shape[1] == parameters.factors
        job = FitJob(
            events=state.interactions.events(),
            items=len(state.model.items),
            parameters=parameters,
            start=vectors.copy() if begin else None,
            threads=self._settings.fit_threads,
            sessions_max=state.limits.sessions_max,
            ranked=state.model.parameters if self._settings.refit_ranker else None,
        )
        total = state.interactions.total
        done = await run_fit(job, folder=self._folder, ms_max=self._settings.fit_ms_max)
        if done is None:
            return None
        ials = await asyncio.to_thread(_learning, done.fit, job.events, job.parameters, state.limits)
        while state.interactions.total - total > _CLOSE_EVENTS:
            missed, total = state.interactions.events(since=total), state.interactions.total
            await asyncio.to_thread(ials.update_many, missed)
        return _Fitted(ials, done.trees, total)


def _learning(fit: Fit, events: Events, parameters: IalsParameters, limits: IncrementalLimits) -> LearningIals:
    """The fit, ready to learn on; of `events` only the sessions whose vectors came back matter."""
    ials = LearningIals(parameters, fit.item_vectors, limits=limits)
    numbers = np.unique(events.sessions)
    if len(numbers):
        kept = events.sessions >= numbers[-len(fit.session_vectors)]
        sessions, rows, kinds, times_ms = events
        ials.adopt(fit, Events(sessions[kept], rows[kept], kinds[kept], times_ms[kept]))
    return ials
