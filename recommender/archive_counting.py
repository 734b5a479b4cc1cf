"""Count something in the archive, in a process of its own: a scan of it must not make an answer wait.

`python -m recommender.archive_counting`: a job as JSON on standard input, what was counted as JSON out.
"""

import asyncio
import os
import sys
from typing import Any

import msgspec

from recommender.earned import By, Earned
from recommender.errors import RecommenderError
from recommender.experiments.definition import Experiment
from recommender.experiments.report import Outcomes
from recommender.forecasting.click_counts import ClickCounts

COUNT_S_MAX = 60.0
"""For how long a count may take."""
_NICE = 10


class Archive(msgspec.Struct, frozen=True):
    """Where it lies: as `ingest.archive_place.open_place` takes it."""

    address: str
    options: dict[str, str] = {}


class OutcomesJob(msgspec.Struct, frozen=True, tag="outcomes"):
    """`recommender.experiments.outcomes.outcomes`."""

    archive: Archive
    experiment: Experiment


class ClickCountsJob(msgspec.Struct, frozen=True, tag="click-counts"):
    """`recommender.forecasting.click_counts.click_counts`."""

    archive: Archive
    placement: str
    since_ms: int


class EarnedJob(msgspec.Struct, frozen=True, tag="earned"):
    """`recommender.attribution.earned`."""

    archive: Archive
    by: By
    from_ms: int
    until_ms: int


Job = OutcomesJob | ClickCountsJob | EarnedJob


class CountFailedError(RecommenderError):
    """Our fault: the archive could not be counted; says what the process said."""


async def count_outcomes(job: OutcomesJob, *, s_max: float = COUNT_S_MAX) -> Outcomes:
    """Of one experiment.

    Raises:
        CountFailedError: the process failed, or took longer than `s_max`.
    """
    return msgspec.json.decode(await _run(job, s_max), type=Outcomes)


async def count_clicks(job: ClickCountsJob, *, s_max: float = COUNT_S_MAX) -> ClickCounts:
    """Of one placement; raises as `count_outcomes`."""
    return msgspec.json.decode(await _run(job, s_max), type=ClickCounts)


async def count_earned(job: EarnedJob, *, s_max: float = COUNT_S_MAX) -> list[Earned]:
    """What suggestions earned; raises as `count_outcomes`."""
    return msgspec.json.decode(await _run(job, s_max), type=list[Earned])


async def _run(job: Job, s_max: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recommender.archive_counting",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(s_max):
            out, errors = await process.communicate(msgspec.json.encode(job))
    except TimeoutError as error:
        raise CountFailedError(f"wanted the archive counted within {s_max:g} s; it was not") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        raise CountFailedError(f"wanted the archive counted; got {said[-1][:300] if said else process.returncode}")
    return out


def _count(job: Job) -> Any:
    # Only this process needs polars.
    from ingest.archive_place import open_place
    from ingest.archive_reader import scan_archive
    from recommender.attribution import earned
    from recommender.experiments.outcomes import outcomes
    from recommender.forecasting.click_counts import click_counts

    events = scan_archive(open_place(job.archive.address, job.archive.options))
    if isinstance(job, OutcomesJob):
        return outcomes(events, job.experiment)
    if isinstance(job, EarnedJob):
        return earned(events, by=job.by, from_ms=job.from_ms, until_ms=job.until_ms)
    return click_counts(events, job.placement, since_ms=job.since_ms)


def main() -> None:
    """One job."""
    os.nice(_NICE)
    job: Job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(_count(job)))


if __name__ == "__main__":
    main()
