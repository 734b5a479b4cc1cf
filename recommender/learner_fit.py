"""Fit iALS and the ranker in a process of its own, at the lowest priority: learning and answering go on undisturbed."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge

from recommender.errors import RankerUnavailableError
from recommender.model_parameters import ModelParameters
from recommender.models.ials import Fit, Ials, IalsParameters, fit_ials, session_matrix
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions
from recommender.ranker.model import RankedModels
from recommender.ranker.training import RankerParameters, fit_ranker
from recommender.ranker.trees import Trees, read_trees, write_trees

_NICE = 19
_PR_SET_PDEATHSIG = 1
_TREES, _NO_RANKER = "trees.npz", "no-ranker.txt"

_fits = Counter("afterclick_recommender_fits_total", "Fits of the factors, by outcome", ["outcome"])
_ranker_fits = Counter("afterclick_recommender_ranker_fits_total", "Fits of the ranker, by outcome", ["outcome"])
_fit_seconds = Gauge(
    "afterclick_recommender_fit_seconds", "How long the newest fit took", multiprocess_mode="mostrecent"
)
_log = structlog.get_logger(__name__)


class FitJob(msgspec.Struct, frozen=True):
    """What a fit needs.

    `start`: shape (k, f), the factors at hand of the first k <= `items` rows, to begin with; None: begin anew.
    `sessions_max`: of how many of the newest sessions the vectors are wanted back.
    `ranked`: how the models whose lists are ranked learn, for the ranker's fit; None: fit no ranker.
    """

    events: Events
    items: int
    parameters: IalsParameters
    start: NDArray[np.float32] | None
    threads: int
    sessions_max: int
    ranked: ModelParameters | None = None


class FitDone(NamedTuple):
    """What a fit gives; `trees` is None where no ranker could be fitted: the one at hand goes on serving."""

    fit: Fit
    trees: Trees | None


async def run_fit(job: FitJob, *, folder: Path, ms_max: int) -> FitDone | None:
    """The vectors of all items and of the newest sessions, and a ranker; None when the fit failed or took too long.

    Each outcome is counted.

    `folder`: where the job lies while it runs.
    """
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fit-", dir=folder) as aside:
        await asyncio.to_thread(_write_job, Path(aside), job)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "recommender.learner_fit", aside, str(os.getpid()), stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(ms_max / 1000):
                _, errors = await process.communicate()
        except TimeoutError:
            _fits.labels("too_long").inc()
            _log.warning("fit ended: it took too long", limit_ms=ms_max)
            return None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            _fits.labels("failed").inc()
            _log.warning("fit failed", code=process.returncode, errors=errors.decode(errors="replace")[-2000:])
            return None
        items = await asyncio.to_thread(np.load, Path(aside) / "items.npy")
        sessions = await asyncio.to_thread(np.load, Path(aside) / "sessions.npy")
        trees = await asyncio.to_thread(_read_trees, Path(aside)) if job.ranked is not None else None
    if not np.isfinite(items).all():
        _fits.labels("not_finite").inc()
        return None
    _fits.labels("done").inc()
    _fit_seconds.set(time.perf_counter() - started_s)
    return FitDone(Fit(items, sessions), trees)


def _read_trees(folder: Path) -> Trees | None:
    reason = folder / _NO_RANKER
    if reason.exists():
        _ranker_fits.labels("not_possible").inc()
        _log.warning("no ranker fitted", reason=reason.read_text())
        return None
    trees = read_trees(folder / _TREES)
    _ranker_fits.labels("done").inc()
    return trees


def _write_job(folder: Path, job: FitJob) -> None:
    arrays = dict(job.events._asdict())
    if job.start is not None:
        arrays["start"] = job.start
    np.savez(folder / "job.npz", **arrays)
    settings = _Settings(job.parameters, job.items, job.threads, job.sessions_max, job.ranked)
    (folder / "job.json").write_bytes(msgspec.json.encode(settings))


class _Settings(msgspec.Struct, frozen=True):
    parameters: IalsParameters
    items: int
    threads: int
    sessions_max: int
    ranked: ModelParameters | None


def _fit(folder: Path) -> None:
    settings = msgspec.json.decode((folder / "job.json").read_bytes(), type=_Settings)
    with np.load(folder / "job.npz") as arrays:
        events = Events(*(arrays[name] for name in Events._fields))
        start = _padded(arrays["start"], settings) if "start" in arrays else None
    matrix = session_matrix(events, items=settings.items)
    fit = fit_ials(matrix, settings.parameters, threads=settings.threads, start=start)
    np.save(folder / "sessions.npy", fit.session_vectors[-settings.sessions_max :])
    np.save(folder / "items.npy", fit.item_vectors)
    if settings.ranked is not None:
        try:
            write_trees(folder / _TREES, _fit_ranker(events, settings, settings.ranked))
        except RankerUnavailableError as error:
            (folder / _NO_RANKER).write_text(str(error))


def _fit_ranker(events: Events, settings: _Settings, ranked: ModelParameters) -> Trees:
    def build(past: Events) -> RankedModels:
        # Anew, not from the factors at hand: these have seen the sessions that are asked about.
        vectors = fit_ials(
            session_matrix(past, items=settings.items), settings.parameters, threads=settings.threads
        ).item_vectors
        popularity = Popularity(**msgspec.structs.asdict(ranked.popularity))
        knn, transitions = SessionKnn(ranked.session_knn), Transitions(ranked.transitions)
        for model in (popularity, knn, transitions):
            model.update_many(past)
        return RankedModels(popularity, knn, transitions, Ials(settings.parameters, vectors), OwnSession())

    return fit_ranker(events, build, RankerParameters(), items=settings.items, threads=settings.threads)


def _padded(start: NDArray[np.float32], settings: _Settings) -> NDArray[np.float32]:
    """Small random vectors for the items that have none: from zero, one would only be found by its neighbours."""
    random = np.random.default_rng(settings.parameters.seed)
    padded = ((random.random((settings.items, start.shape[1]), np.float32)) - 0.5) * np.float32(0.01)
    known = np.flatnonzero(start.any(axis=1))
    padded[known] = start[known]
    return padded


def _yield_to_all_others(parent: int) -> None:
    """Lowest priority, and gone with the learner: a fit nobody waits for must not eat a core for minutes."""
    os.nice(_NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    _yield_to_all_others(int(sys.argv[2]))
    _fit(Path(sys.argv[1]))
