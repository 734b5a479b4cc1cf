"""Reports of experiments: counted from the archive at most every so often, shared by all who look."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from api.errors import NotFoundError, UnavailableError
from recommender.archive_counting import CountFailedError
from recommender.experiments import Experiment, ExperimentReport, Outcomes, report
from recommender.merchandising import Ledger

CountOutcomes = Callable[[Experiment], Awaitable[Outcomes]]
"""What its visitors did, from the archive; raises CountFailedError."""

_REPORTS_MAX = 64
_AGE_S_MAX = 10.0


class ExperimentReports:
    """One count at a time: who asks while it runs waits for it, and who asks soon after gets the same."""

    def __init__(
        self,
        ledger: Ledger,
        count: CountOutcomes,
        *,
        retry_after_s: int,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._count = count
        self._retry_after_s = retry_after_s
        self._seconds = seconds
        self._counting = asyncio.Lock()
        self._made: dict[tuple[str, int], tuple[float, ExperimentReport]] = {}

    async def report(self, experiment_id: str) -> ExperimentReport:
        """At most ten seconds old; events reach the archive some seconds after they are accepted.

        Raises:
            NotFoundError: there is no such experiment.
            UnavailableError: the archive cannot be counted now.
        """
        document = self._ledger.get("experiment", experiment_id)
        if document is None or not document.there:
            raise NotFoundError(
                "unknown_experiment",
                wanted="the id of an experiment",
                got=experiment_id[:64],
                next_step="look at GET /v1/experiments for those there are",
            )
        key = (experiment_id, document.version)
        async with self._counting:
            made_s, found = self._made.get(key, (float("-inf"), None))
            if found is None or self._seconds() - made_s > _AGE_S_MAX:
                found = report(document.body, await self._outcomes(document.body))
                if len(self._made) >= _REPORTS_MAX:
                    self._made.clear()
                self._made[key] = (self._seconds(), found)
        return found

    async def _outcomes(self, experiment: Experiment) -> Outcomes:
        try:
            return await self._count(experiment)
        except CountFailedError as error:
            raise UnavailableError(
                "archive_unavailable",
                wanted="an archive that can be counted",
                got=str(error),
                next_step="look at the archive's log; ask again after Retry-After",
                retry_after_s=self._retry_after_s,
            ) from error
