"""How well the served model foretells what visitors do next, measured on the events before they are learnt."""

from collections import deque
from typing import NamedTuple

import numpy as np
from prometheus_client import Gauge

from recommender.live_model import LiveModel
from recommender.models.ials import Ials
from recommender.models.protocol import Events, Prefix

K = 20
_KEPT = 4_096
_SHOWN_MIN = 100

_hit_rate = Gauge(
    "afterclick_recommender_online_hit_rate",
    "Share of the newest sampled clicks that were among the 20 the model would have suggested",
    multiprocess_mode="mostrecent",
)


class Asked(NamedTuple):
    """One event that was foretold or not.

    Attributes:
        at: how many interactions had been learnt when it was asked.
        prefix, label: the session so far, and what came.
        by_blend: its place in the blend's list, from 1; 0: not in it.
        by_ials: was it in the list of the factors alone? They are what a refit replaces.
    """

    at: int
    prefix: Prefix
    label: int
    by_blend: int
    by_ials: bool


class OnlineScore:
    """Asks a few events of each flush, so that a busy shop's learner is not slowed down. One thread.

    Args:
        per_flush: how many are asked at most; each costs about a fifth of a millisecond.
    """

    def __init__(self, *, per_flush: int) -> None:
        self._per_flush = per_flush
        self._asked: deque[Asked] = deque(maxlen=_KEPT)

    def ask(self, model: LiveModel, events: Events, at: int) -> None:
        """Foretell some of `events`, which `model` has not learnt; `at`: how many it has."""
        asked: set[int] = set()
        for place in range(len(events.rows) - 1, -1, -1):
            if len(asked) >= self._per_flush:
                break
            session, label = int(events.sessions[place]), int(events.rows[place])
            seen = model.transitions.newest_rows(session)
            # Earlier events of the same flush are unknown to the model, and so would be the end of the prefix.
            first = session not in asked and session not in events.sessions[:place]
            if first and len(seen) and seen[-1] != label:
                asked.add(session)
                time_ms = np.full(len(seen), events.times_ms[place] - 1, np.int64)
                self._ask(model, Prefix(seen, np.ones(len(seen), np.uint8), time_ms), label, at)
        if len(self._asked) >= _SHOWN_MIN:
            _hit_rate.set(self.figures()["hr@20"])

    def since(self, at: int) -> list[Asked]:
        """What was asked from the `at`-th interaction on, oldest first."""
        return [asked for asked in self._asked if asked.at >= at]

    def figures(self, *, newest: int = 1_000) -> dict[str, float]:
        """Hit rate and reciprocal rank of the newest, and how many these are; no rates where there are none."""
        places = [asked.by_blend for asked in list(self._asked)[-newest:]]
        if not places:
            return {"targets": 0.0}
        hits = [place for place in places if place]
        return {
            "hr@20": len(hits) / len(places),
            "mrr@20": sum(1.0 / place for place in hits) / len(places),
            "targets": float(len(places)),
        }

    def _ask(self, model: LiveModel, prefix: Prefix, label: int, at: int) -> None:
        blocked = np.zeros(len(model.items), np.bool_)
        blocked[prefix.rows[-1]] = True
        found = np.flatnonzero(model.personal(prefix, K, blocked).rows == label)
        place = int(found[0]) + 1 if len(found) else 0
        self._asked.append(Asked(at, prefix, label, place, foretold(model.ials, prefix, label)))


def foretold(ials: Ials, prefix: Prefix, label: int) -> bool:
    """Is `label` among the 20 that the factors would suggest after `prefix`?"""
    blocked = np.zeros(max(len(ials.factors), int(prefix.rows.max()) + 1), np.bool_)
    blocked[prefix.rows[-1]] = True
    return label in ials.scores(prefix, K, blocked).rows
