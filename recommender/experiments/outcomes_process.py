"""Count an experiment's outcomes in a process of its own: a scan of the archive must not make an answer wait.

`python -m recommender.experiments.outcomes_process`: a job as JSON on standard input, outcomes by variant as JSON out.
"""

import asyncio
import os
import sys
from typing import Any

import msgspec

from ingest.archive_place import open_place
from ingest.archive_reader import scan_archive
from recommender.errors import RecommenderError
from recommender.experiments.definition import Experiment
from recommender.experiments.outcomes import outcomes
from recommender.experiments.report import ArmOutcomes

_NICE = 10


class OutcomesJob(msgspec.Struct, frozen=True):
    """What is to be counted, and where. `place`, `options`: as `ingest.archive_place.open_place` takes them."""

    place: str
    options: dict[str, Any]
    experiment: Experiment


class OutcomesFailedError(RecommenderError):
    """Our fault: the archive could not be counted; says what the process said."""


COUNT_S_MAX = 60.0
"""For how long a count may take."""


async def count_outcomes(job: OutcomesJob, *, s_max: float = COUNT_S_MAX) -> dict[str, ArmOutcomes]:
    """By variant; see `outcomes`.

    Raises:
        OutcomesFailedError: the process failed, or took longer than `s_max`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recommender.experiments.outcomes_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(s_max):
            out, errors = await process.communicate(msgspec.json.encode(job))
    except TimeoutError as error:
        raise OutcomesFailedError(f"wanted the archive counted within {s_max:g} s; it was not") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        raise OutcomesFailedError(f"wanted the archive counted; got {said[-1][:300] if said else process.returncode}")
    return msgspec.json.decode(out, type=dict[str, ArmOutcomes])


def main() -> None:
    """One job."""
    os.nice(_NICE)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=OutcomesJob)
    found = outcomes(scan_archive(open_place(job.place, job.options)), job.experiment)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
