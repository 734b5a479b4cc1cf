"""Rank, then learn, event by event: what learning at once is worth against a model that stands still."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.metrics import ranks_of
from recommender.models.protocol import Events, Model, Prefix


class Prequential(NamedTuple):
    """What a run saw, one entry a target (every event of a session from its second on, consecutive repeats collapsed).

    Attributes:
        ranks: per model name, shape (n,), 0 where the target was missed.
        clusters: shape (n,), the target's session.
        labels: shape (n,), its row.
        times_ms: shape (n,), when it happened.
    """

    ranks: Mapping[str, NDArray[np.int64]]
    clusters: NDArray[np.int64]
    labels: NDArray[np.int32]
    times_ms: NDArray[np.int64]


def run_prequential(
    models: Mapping[str, Model],
    *,
    learning: frozenset[str],
    events: Events,
    items: int,
    begin: int,
    k: int = 20,
    after: Callable[[int], None] = lambda _event: None,
) -> Prequential:
    """Ask every model for each target from event `begin` on, then let those in `learning` have the event.

    Args:
        models: trained on the events before `begin`; those in `learning` are changed.
        learning: names of models that learn as the run goes; the others stay as they are.
        events: in order, consecutive repeats collapsed.
        items: how many rows there are in all, new ones included.
        begin: the cut.
        k: length of a list.
        after: called with the number of events learnt so far, after each.
    """
    lists: dict[str, list[NDArray[np.int32]]] = {name: [] for name in models}
    clusters, labels, times_ms = [], [], []
    earlier = _earlier_events(events)
    blocked = np.zeros(items, np.bool_)
    for event in range(begin, len(events.rows)):
        before = earlier[event][earlier[event] >= begin]
        if len(before):
            prefix = Prefix(events.rows[before], events.kinds[before], events.times_ms[before])
            blocked[prefix.rows[-1]] = True
            for name, model in models.items():
                rows = model.scores(prefix, k, blocked).rows
                lists[name].append(np.pad(rows, (0, k - len(rows)), constant_values=-1))
            blocked[prefix.rows[-1]] = False
            clusters.append(events.sessions[event])
            labels.append(events.rows[event])
            times_ms.append(events.times_ms[event])
        for name in learning:
            models[name].update(
                int(events.sessions[event]),
                int(events.rows[event]),
                int(events.kinds[event]),
                int(events.times_ms[event]),
            )
        after(event - begin + 1)
    asked = np.array(labels, np.int32)
    ranks = {name: ranks_of(np.array(rows, np.int32).reshape(len(asked), k), asked) for name, rows in lists.items()}
    return Prequential(ranks, np.array(clusters, np.int64), asked, np.array(times_ms, np.int64))


def _earlier_events(events: Events) -> list[NDArray[np.int64]]:
    """Per event the indices of its session's earlier events, oldest first."""
    open_sessions: dict[int, list[int]] = {}
    earlier = []
    for event, session in enumerate(events.sessions):
        known = open_sessions.setdefault(int(session), [])
        earlier.append(np.array(known, np.int64))
        known.append(event)
    return earlier
