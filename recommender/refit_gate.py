"""May a refit learn from what is at hand? Data unlike what the last good fit had is refused, with the reason."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import structlog
from prometheus_client import Counter, Gauge

from feature_store.data_quality import Column, Profile, QualityLimits, population_stability, problems_of, profile_of
from feature_store.kinds import Kind
from recommender.models.protocol import Events

_FILE: Final = "data_profile.json"
_SESSION_SHARE_MAX: Final = 0.2
_KIND_SHARE_MIN: Final = 0.02
_AHEAD_MS: Final = 2 * 86_400_000
_AHEAD_SHARE_MAX: Final = 0.05
_EVENTS_MIN: Final = 500
_LOOKED_AT_MAX: Final = 200_000
KIND: Final = "kind"
SESSION: Final = "events of a session"
_PATIENCE_MS: Final = 86_400_000
"""Data that has stayed another way for a day is how the shop is now."""

_REFUSED = Counter("afterclick_recommender_refits_refused_total", "Refits not begun because the data looked wrong")
_STABILITY = Gauge(
    "afterclick_recommender_refit_data_stability",
    "Population stability index of what a refit would learn from, against the last good one",
    ["column"],
    multiprocess_mode="max",
)
_log = structlog.get_logger(__name__)


class Baseline(msgspec.Struct, frozen=True):
    """What the last good fit learned from: profiles, the share of each kind of event, and since when data unlike it has
    been refused (0: it is not)."""

    profiles: tuple[Profile, ...]
    kinds: dict[int, float]
    refused_since_ms: int = 0


class RefitGate:
    """Looks at a refit's events before it begins.

    Args:
        folder: keeps the baseline, so that a restarted learner knows it.
        limits: how far from the baseline is too far.
    """

    def __init__(self, folder: Path, limits: QualityLimits | None = None) -> None:
        self._path = folder / _FILE
        self._limits = limits or QualityLimits(rows_min=100, stability_max=1.0)
        self._baseline = _read(self._path)

    def admits(self, fresh: Events, *, now_ms: int) -> bool:
        """May a refit learn from these, the events since the last one?

        If so they are the new baseline; if not, the reasons are logged and counted. Few events say nothing.
        """
        if len(fresh.rows) < _EVENTS_MIN:
            return True
        sessions, rows, kinds_of, times_ms = fresh
        newest = slice(-_LOOKED_AT_MAX, None)
        fresh = Events(sessions[newest], rows[newest], kinds_of[newest], times_ms[newest])
        problems = plain_problems(fresh, now_ms=now_ms)
        if self._baseline is not None:
            problems += self._shifts(fresh, self._baseline)
        if problems and not self._is_settled(now_ms):
            _REFUSED.inc()
            _log.error("refit refused: the data looks wrong; the model in use stays", problems=problems)
            return False
        if problems:
            _log.warning("refit admitted: the data has looked this way for a day", problems=problems)
        kinds, counts = np.unique(fresh.kinds, return_counts=True)
        shares = dict(zip(kinds.tolist(), (counts / len(fresh.kinds)).tolist(), strict=True))
        self._keep(Baseline(tuple(profile_of(name, column) for name, column in columns_of(fresh).items()), shares))
        return True

    def _shifts(self, fresh: Events, baseline: Baseline) -> list[str]:
        columns = columns_of(fresh)
        problems = kind_problems(fresh, baseline.kinds)
        for before in baseline.profiles:
            got = profile_of(before.name, columns[before.name], edges=before.edges)
            _STABILITY.labels(before.name).set(population_stability(before.shares, got.shares))
            if before.name == SESSION:
                problems += problems_of(got, before, self._limits)
        return problems

    def _is_settled(self, now_ms: int) -> bool:
        """Has it been refused for so long that this is how things are now? Never without a baseline."""
        if self._baseline is None:
            return False
        since_ms = self._baseline.refused_since_ms
        if since_ms == 0:
            self._keep(msgspec.structs.replace(self._baseline, refused_since_ms=now_ms))
            return False
        return now_ms - since_ms >= _PATIENCE_MS

    def _keep(self, baseline: Baseline) -> None:
        self._baseline = baseline
        aside = self._path.with_suffix(".tmp")
        aside.write_bytes(msgspec.json.encode(baseline))
        os.replace(aside, self._path)


def columns_of(events: Events) -> dict[str, Column]:
    """What is held against the baseline: only what does not change as a shop grows."""
    _, sizes = np.unique(events.sessions, return_counts=True)
    return {KIND: events.kinds.astype(np.float64), SESSION: sizes.astype(np.float64)}


def kind_problems(events: Events, before: Mapping[int, float]) -> list[str]:
    """Kinds that had a share of the baseline and are gone: their tracking broke."""
    there = set(np.unique(events.kinds).tolist())
    return [
        f"kind {Kind(kind).name.lower()}: wanted about {share:.0%} of the events as before, got none; is its tracking "
        "broken?"
        for kind, share in before.items()
        if share >= _KIND_SHARE_MIN and kind not in there
    ]


def plain_problems(events: Events, *, now_ms: int) -> list[str]:
    """What is wrong whatever came before."""
    problems = []
    _, sizes = np.unique(events.sessions, return_counts=True)
    share = sizes.max() / len(events.rows)
    if share > _SESSION_SHARE_MAX:
        problems.append(
            f"wanted at most {_SESSION_SHARE_MAX:.0%} of the events from one session, got {share:.0%}; is it a robot?"
        )
    ahead = float((events.times_ms > now_ms + _AHEAD_MS).mean())
    if ahead > _AHEAD_SHARE_MAX:
        problems.append(f"wanted events of the past, got {ahead:.0%} from days ahead; which clock is wrong?")
    return problems


def _read(path: Path) -> Baseline | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        _log.warning("the baseline of refits cannot be read; the next fit makes a new one", reason=str(error))
        return None
