"""When the factors are fitted again, and how the fit takes the place of the one before it."""

import asyncio
import time
from pathlib import Path

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from recommender.learner_fit import FitJob, run_fit
from recommender.learner_state import LearnerState
from recommender.settings import LearnerSettings

_log = structlog.get_logger(__name__)


class _Cut(msgspec.Struct, frozen=True):
    """Where the events of a fit end: `total` of the interactions, and the items there were."""

    total: int
    items: int


class Refits:
    """At most one fit at a time, in its own process."""

    def __init__(self, settings: LearnerSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._fit: asyncio.Task[NDArray[np.float32] | None] | None = None
        self._cut = _Cut(0, 0)
        self._due_s = 0.0

    def turn(self, state: LearnerState) -> NDArray[np.float32] | None:
        """Start a fit when one is due; when one has come, make it `state`'s and hand its vectors out."""
        if self._fit is None:
            if self._settings.refit and self._due(state):
                self._start(state)
            return None
        if not self._fit.done():
            return None
        vectors = self._fit.result()
        self._fit = None
        self._due_s = time.monotonic() + self._settings.refit_ms / 1000
        if vectors is not None:
            state.adopt_factors(vectors, since=self._cut.total)
            _log.info("fitted", items=len(vectors), events=self._cut.total)
        return vectors

    async def cancel(self) -> None:
        """End a fit that is under way."""
        if self._fit is not None:
            self._fit.cancel()
            await asyncio.gather(self._fit, return_exceptions=True)

    def _due(self, state: LearnerState) -> bool:
        fresh = state.interactions.total - self._cut.total
        # The first fit after a start counts all there is: a model without factors should not wait ten minutes for them.
        return fresh >= self._settings.refit_events_min and time.monotonic() >= self._due_s

    def _start(self, state: LearnerState) -> None:
        factors = state.model.ials.factors
        start = factors.live.copy() if len(factors) and factors.live.any() else None
        self._cut = _Cut(state.interactions.total, len(state.model.items))
        job = FitJob(
            events=state.interactions.events(),
            items=self._cut.items,
            parameters=state.model.parameters.ials,
            start=start,
            threads=self._settings.fit_threads,
        )
        self._fit = asyncio.create_task(run_fit(job, folder=self._folder, ms_max=self._settings.fit_ms_max))
