"""When the factors are fitted again, and how the fit takes the place of the one before it."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import structlog
from prometheus_client import Counter

from ingest.task_ending import end_tasks
from recommender.fit_guard import Judged, Trial, judge
from recommender.incremental import IncrementalLimits, LearningIals
from recommender.learner_fit import FitDone, FitJob, run_fit
from recommender.learner_state import LearnerState
from recommender.model_parameters import parameters_of
from recommender.models.ials import Fit, IalsParameters, for_catalogue
from recommender.models.protocol import Events
from recommender.online_score import Asked, foretold
from recommender.ranker.trees import Trees
from recommender.refit_gate import RefitGate
from recommender.settings import LearnerSettings
from recommender.tuned_parameters import tuned_parameters

# What comes in during a fit is learnt beside the live model; the last few events then in one go, in milliseconds.
_CLOSE_EVENTS = 200
_CATCH_UP_EVENTS = 500


class FitRunner(Protocol):
    """Fits a job in the background."""

    async def __call__(self, job: FitJob, *, folder: Path, ms_max: int) -> FitDone | None:
        """The vectors; None when the fit failed."""
        ...


_judged = Counter("afterclick_recommender_fits_judged_total", "Fits by what became of them", ["outcome"])
_log = structlog.get_logger(__name__)


class _Fitted(NamedTuple):
    """A model fitted and caught up to the `total`-th interaction.

    `judged`: against the one at hand, on what came in meanwhile.
    """

    ials: LearningIals
    trees: Trees | None
    total: int
    judged: Judged


class Refits:
    """At most one fit at a time, in its own process.

    Args:
        folder: where a fit's input and output lie while it runs.
        fit: fits a job, see `learner_fit.run_fit`.
    """

    def __init__(self, settings: LearnerSettings, folder: Path, fit: FitRunner = run_fit) -> None:
        self._settings = settings
        self._gate = RefitGate(folder)
        self._folder = folder
        self._run_fit = fit
        self._trial: Trial | None = None
        self._fit: asyncio.Task[_Fitted | None] | None = None
        self._fitted_total = 0
        self._due_s = 0.0

    def turn(self, state: LearnerState) -> bool:
        """Start a fit when one is due; True when `state.model` now holds another: a new one or the former."""
        if self._trial is not None and self._rolled_back(state, self._trial):
            return True
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
        if fitted.judged.verdict == "worse":
            _judged.labels("refused").inc()
            _log.warning("fit refused: it foretells visitors worse than the one at hand", **fitted.judged._asdict())
            return False
        before = state.model.ials
        on_trial = fitted.judged.verdict == "unknown" and isinstance(before, LearningIals)
        self._trial = Trial(before, state.interactions.total) if on_trial and isinstance(before, LearningIals) else None
        fitted.ials.update_many(state.interactions.events(since=fitted.total))
        trees_before = state.model.trees
        self._serve(state, fitted.ials)
        if fitted.trees is not None:
            state.model.use_trees(fitted.trees)
        if self._trial is not None:
            self._trial.trees = trees_before
        _judged.labels("on_trial" if self._trial is not None else "served").inc()
        _log.info("fitted", items=len(fitted.ials.factors), events=len(state.interactions), **fitted.judged._asdict())
        return True

    def _rolled_back(self, state: LearnerState, trial: Trial) -> bool:
        """End the trial once it is decided; True when the fit before is served again."""
        judged = trial.look(state.score.since(trial.total), targets_min=self._settings.guard_events_min)
        if judged.verdict == "unknown":
            return False
        self._trial = None
        if judged.verdict == "fine":
            return False
        trial.before.update_many(state.interactions.events(since=trial.total))
        self._serve(state, trial.before)
        if trial.trees is not None:
            state.model.use_trees(trial.trees)
        _judged.labels("rolled_back").inc()
        _log.warning("fit rolled back: it foretells visitors worse than the one before it", **judged._asdict())
        return True

    def _serve(self, state: LearnerState, ials: LearningIals) -> None:
        ials.changed_rows()
        state.model.replace_ials(ials)

    @property
    def idle(self) -> bool:
        """Is no fit under way?"""
        return self._fit is None

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
        done = await self._run_fit(job, folder=self._folder, ms_max=self._settings.fit_ms_max)
        if done is None:
            return None
        ials = await asyncio.to_thread(_learning, done.fit, job.events, job.parameters, state.limits)
        was: list[bool] = []
        new: list[bool] = []
        while state.interactions.total - total > _CLOSE_EVENTS:
            # In pieces, each foretold before it is learnt, as the one at hand had to foretell them.
            missed = _first(state.interactions.events(since=total), _CATCH_UP_EVENTS)
            asked = [each for each in state.score.since(total) if each.at < total + len(missed.rows)]
            new += await asyncio.to_thread(_foretold, ials, asked)
            was += [each.by_ials for each in asked]
            await asyncio.to_thread(ials.update_many, missed)
            total += len(missed.rows)
        return _Fitted(ials, done.trees, total, judge(was, new, targets_min=self._settings.guard_events_min))


def _foretold(ials: LearningIals, asked: Sequence[Asked]) -> list[bool]:
    return [foretold(ials, each.prefix, each.label) for each in asked]


def _first(events: Events, count: int) -> Events:
    sessions, rows, kinds, times_ms = events
    return Events(sessions[:count], rows[:count], kinds[:count], times_ms[:count])


def _learning(fit: Fit, events: Events, parameters: IalsParameters, limits: IncrementalLimits) -> LearningIals:
    """The fit, ready to learn on; of `events` only the sessions whose vectors came back matter."""
    ials = LearningIals(parameters, fit.item_vectors, limits=limits)
    numbers = np.unique(events.sessions)
    if len(numbers):
        kept = events.sessions >= numbers[-len(fit.session_vectors)]
        sessions, rows, kinds, times_ms = events
        ials.adopt(fit, Events(sessions[kept], rows[kept], kinds[kept], times_ms[kept]))
    return ials
