"""Turn clicks into what is asked: at each place of a session, which item comes next?"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.kinds import Kind
from recommender.evaluation.clicks import Clicks
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Events, Prefix

UNKNOWN = -1
"""The row of an item that training did not hold."""

_SPAN_MS = 30 * 86_400_000


class Relevant(NamedTuple):
    """Per question the distinct items of the rest of its session, the item at hand left out.

    Attributes:
        rows: those that training held, one question after another.
        begins, ends: shape (n,), a question's are `[begins, ends)` of them.
        counts: shape (n,), how many there are with those that training did not hold, >= 1.
    """

    rows: NDArray[np.int32]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    counts: NDArray[np.int64]


class Targets(NamedTuple):
    """Questions, in file order of their answers.

    Attributes:
        prefix_rows, prefix_kinds, prefix_times_ms: all prefixes' events, sessions one after another.
        begins, ends: shape (n,), a question's prefix is `[begins, ends)` of those.
        labels: shape (n,), the row asked for, `UNKNOWN` when training did not hold it.
        clusters: shape (n,), the session a question belongs to, for errors that respect it.
        asked: columns `session`, `position`, `label` (text) as the lists file has them.
        leaves_out_current: the item at hand is never answered.
        relevant: what is still to come, the label and all behind it.
    """

    prefix_rows: NDArray[np.int32]
    prefix_kinds: NDArray[np.uint8]
    prefix_times_ms: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    clusters: NDArray[np.int64]
    asked: pl.DataFrame
    leaves_out_current: bool
    relevant: Relevant

    def prefix(self, question: int) -> Prefix:
        """The known part of the question's prefix."""
        place = slice(int(self.begins[question]), int(self.ends[question]))
        rows = self.prefix_rows[place]
        known = rows != UNKNOWN
        return Prefix(rows[known], self.prefix_kinds[place][known], self.prefix_times_ms[place][known])

    def current(self, question: int) -> int:
        """The row of the item at hand, `UNKNOWN` when there is none to leave out."""
        if not self.leaves_out_current or self.begins[question] == self.ends[question]:
            return UNKNOWN
        return int(self.prefix_rows[self.ends[question] - 1])


def training_events(clicks: Clicks, items: ItemTable) -> Events:
    """What models learn from, in order; items get their rows by first appearance.

    Where times are missing, the events are laid evenly over thirty days, so that what ages by time ages by order.
    """
    events = clicks.events
    numbers = _numbers(events["session"])
    rows = np.fromiter(map(items.add, events["item"]), np.int32, len(events))
    times_ms = events["time_ms"].to_numpy()
    if not clicks.timed:
        times_ms = np.linspace(1, _SPAN_MS, len(events)).astype(np.int64)
    return Events(numbers.to_numpy(), rows, events["kind"].to_numpy(), times_ms)


def session_targets(clicks: Clicks, items: ItemTable) -> Targets:
    """Every event of a session from its second on; `position` is its 0-based place among the session's events."""
    by_session = clicks.events.with_columns(number=_numbers(clicks.events["session"])).sort("number", "place")
    rows = _rows(by_session["item"], items)
    number, place = by_session["number"].to_numpy(), by_session["place"].to_numpy()
    ends = np.flatnonzero(place >= 1)
    ends = ends[np.argsort(by_session["row"].to_numpy()[ends], kind="stable")]
    asked = by_session[ends].select("session", pl.col("place").cast(pl.Int64).alias("position"), label="item")
    return Targets(
        rows,
        by_session["kind"].to_numpy(),
        by_session["time_ms"].to_numpy(),
        ends - place[ends],
        ends,
        rows[ends],
        number[ends],
        asked,
        leaves_out_current=True,
        relevant=_rest_of_session(number, by_session["item"], rows, ends),
    )


def pair_targets(pairs: pl.DataFrame, items: ItemTable) -> Targets:
    """Every row of a pairs file; `session` is its number, `position` the length of its prefix, nothing is left out."""
    lengths = pairs["prefix"].list.len().fill_null(0).to_numpy().astype(np.int64)
    rows = _rows(pairs["prefix"].explode(empty_as_null=False, keep_nulls=False), items)
    ends = np.cumsum(lengths)
    number = np.arange(len(pairs), dtype=np.int64)
    asked = pl.DataFrame({"session": number, "position": lengths, "label": pairs["label"]})
    labels = _rows(pairs["label"], items)
    return Targets(
        rows,
        np.full(len(rows), Kind.VIEW, np.uint8),
        np.zeros(len(rows), np.int64),
        ends - lengths,
        ends,
        labels,
        number,
        asked,
        leaves_out_current=False,
        relevant=_labels_alone(labels),
    )


def _rest_of_session(
    sessions: NDArray[np.int64], item_ids: pl.Series, rows: NDArray[np.int32], asked: NDArray[np.int64]
) -> Relevant:
    """`asked`: the places of the questions among the events, which stand session after session."""
    codes = _numbers(item_ids).to_numpy()
    last = np.searchsorted(sessions, sessions, side="right")
    known: list[int] = []
    ends = np.empty(len(asked), np.int64)
    counts = np.empty(len(asked), np.int64)
    for question, at in enumerate(asked.tolist()):
        rest = {int(code): int(row) for code, row in zip(codes[at : last[at]], rows[at : last[at]], strict=True)}
        if codes[at - 1] != codes[at]:
            # It is never answered, so that nobody could be right about its coming again.
            rest.pop(int(codes[at - 1]), None)
        known += [row for row in rest.values() if row != UNKNOWN]
        ends[question], counts[question] = len(known), len(rest)
    begins = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    return Relevant(np.array(known, np.int32), begins, ends, counts)


def _labels_alone(labels: NDArray[np.int32]) -> Relevant:
    known = labels != UNKNOWN
    ends = np.cumsum(known)
    return Relevant(labels[known], ends - known, ends, np.ones(len(labels), np.int64))


def _numbers(sessions: pl.Series) -> pl.Series:
    """0-based, in order of first appearance."""
    distinct = sessions.unique(maintain_order=True)
    return sessions.replace_strict(distinct, pl.Series(range(len(distinct)), dtype=pl.Int64))


def _rows(item_ids: pl.Series, items: ItemTable) -> NDArray[np.int32]:
    known = (items.row(item_id) for item_id in item_ids)
    return np.fromiter((UNKNOWN if row is None else row for row in known), np.int32, len(item_ids))
