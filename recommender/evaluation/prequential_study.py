"""Frozen, refitted now and then, or learning from every event: one stream of clicks, ranked first, then learnt."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.blend import Blend
from recommender.errors import EvaluationInputError
from recommender.evaluation.builders import ModelParameters, train
from recommender.evaluation.clicks import parse_spec, read_clicks
from recommender.evaluation.comparison import Difference, paired_difference
from recommender.evaluation.metrics import gains
from recommender.evaluation.prequential import Prequential, run_prequential
from recommender.evaluation.targets import training_events
from recommender.incremental import LearningIals
from recommender.models.ials import Ials
from recommender.models.item_table import ItemTable
from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Events, Model, Prefix, Scored, State

DAY_MS = 86_400_000
Way = Literal["frozen", "refit", "per-event"]
WAYS: tuple[Way, ...] = ("frozen", "refit", "per-event")


class PrequentialOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to run through.

    Attributes:
        train: `FILE`, `FILE:SPLIT` or an archive's folder: all of it is the stream.
        model: a name of `builders.MODEL_NAMES`.
        days: the stream's first days, on which every way begins; without times, or when 0, `share` of its events.
        run_days: how many days to run after those; 0: to the end.
        refit_days: days between refits; without times a refit comes ten times in the run.
    """

    train: str
    model: str = "blend"
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    days: Annotated[float, msgspec.Meta(ge=0)] = 3.0
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    run_days: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    refit_days: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    ways: tuple[Way, ...] = WAYS
    parameters: ModelParameters = ModelParameters()
    threads: int = 0


class Age(msgspec.Struct, frozen=True, kw_only=True):
    """The targets that came `from_days` to `from_days` + 1 after the cut: so old is a frozen model then."""

    from_days: int
    targets: int
    hit_rates: dict[str, float]
    gain: Difference


class PrequentialReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        figures: per way, by figure.
        gains: per way and figure against the first way, paired.
        hits: per way, shape (n,), one a target in the order of the run, for a curve.
        ages: day by day since the cut, the last way against the first; none where there are no times.
        new_targets, new_hits: targets on items first seen after the cut, and per way how many were hit.
    """

    options: PrequentialOptions
    figures: dict[str, dict[str, float]]
    gains: dict[str, dict[str, Difference]]
    hits: dict[str, NDArray[np.bool_]]
    times_ms: NDArray[np.int64]
    timed: bool
    targets: int
    events_before: int
    events_run: int
    refits: int
    ages: tuple[Age, ...]
    new_targets: int
    new_hits: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it: without the single targets."""
        told = (
            "figures",
            "gains",
            "targets",
            "events_before",
            "events_run",
            "refits",
            "ages",
            "new_targets",
            "new_hits",
            "timed",
        )
        options = self.options
        return {
            "model": options.model,
            "train": options.train,
            "k": options.k,
            **{name: msgspec.to_builtins(getattr(self, name)) for name in told},
        }


def run_prequential_study(
    options: PrequentialOptions, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> PrequentialReport:
    """Run every way through the same stream. `progress`: called with events done and events in all.

    Raises:
        EvaluationInputError: a file or model is not there, or the cut leaves nothing on one side.
    """
    clicks = read_clicks(parse_spec(options.train))
    items = ItemTable()
    events = training_events(clicks, items)
    cut, end = _cut(events, options, timed=clicks.timed)
    events = _first(events, end)
    bounds = _refit_bounds(events, cut, options, timed=clicks.timed)
    past = _first(events, cut)
    known = int(past.rows.max()) + 1
    models: dict[str, Model] = {way: _model(way, past, known, events, bounds, options) for way in options.ways}
    run = run_prequential(
        models,
        learning=frozenset(way for way in options.ways if way != "frozen"),
        events=events,
        items=len(items),
        begin=cut,
        k=options.k,
        after=lambda done: progress(done, end - cut),
    )
    cut_ms = int(events.times_ms[cut]) if clicks.timed else None
    return _report(options, run, known=known, cut=cut, end=end, refits=len(bounds), cut_ms=cut_ms)


def _report(
    options: PrequentialOptions,
    run: Prequential,
    *,
    known: int,
    cut: int,
    end: int,
    refits: int,
    cut_ms: int | None,
) -> PrequentialReport:
    names = [f"{name}@{options.k}" for name in ("hr", "mrr", "ndcg")]
    gained = {way: gains(ranks) for way, ranks in run.ranks.items()}
    first = options.ways[0]
    new = run.labels >= known
    return PrequentialReport(
        options=options,
        figures={
            way: {name: float(columns[:, at].mean()) for at, name in enumerate(names)}
            for way, columns in gained.items()
        },
        gains={
            way: {
                name: paired_difference(gained[first][:, at], columns[:, at], run.clusters)
                for at, name in enumerate(names)
            }
            for way, columns in gained.items()
            if way != first
        },
        hits={way: ranks > 0 for way, ranks in run.ranks.items()},
        times_ms=run.times_ms,
        timed=cut_ms is not None,
        targets=len(run.labels),
        events_before=cut,
        events_run=end - cut,
        refits=refits if "refit" in options.ways else 0,
        ages=_ages(options.ways, gained, run, cut_ms) if cut_ms is not None else (),
        new_targets=int(new.sum()),
        new_hits={way: int((ranks[new] > 0).sum()) for way, ranks in run.ranks.items()},
    )


def _ages(
    ways: tuple[Way, ...], gained: Mapping[str, NDArray[np.float64]], run: Prequential, cut_ms: int
) -> tuple[Age, ...]:
    days = (run.times_ms - cut_ms) // DAY_MS
    ages = []
    for day in np.unique(days).tolist():
        there = days == day
        hits = {way: columns[there, 0] for way, columns in gained.items()}
        ages.append(
            Age(
                from_days=int(day),
                targets=int(there.sum()),
                hit_rates={way: float(each.mean()) for way, each in hits.items()},
                gain=paired_difference(hits[ways[0]], hits[ways[-1]], run.clusters[there]),
            )
        )
    return tuple(ages)


class Refitted:
    """A model trained anew at given places of the stream, on all before them; between those it stands still."""

    def __init__(
        self, fit: Callable[[int], Model], past: int, bounds: tuple[int, ...], *, first: Model | None = None
    ) -> None:
        self.name = "refitted"
        self._fit = fit
        self._bounds = set(bounds)
        self._seen = past
        self._model = first if first is not None else fit(past)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Count one event; at a bound, train on all so far."""
        self._seen += 1
        if self._seen in self._bounds:
            self._model = self._fit(self._seen)

    def update_many(self, events: Events, /) -> None:
        """Count many."""
        for _ in range(len(events.rows)):
            self.update(0, 0, 0, 0)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """As the newest fit has it."""
        return self._model.scores(prefix, n, blocked)

    def state(self) -> dict[str, NDArray[Any]]:
        """The newest fit's."""
        return self._model.state()

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self._model.load(state)


def _model(
    way: Way, past: Events, known: int, events: Events, bounds: tuple[int, ...], options: PrequentialOptions
) -> Model:
    def fit(end: int) -> Model:
        part = _first(events, end)
        rows = int(part.rows.max()) + 1
        return train(options.model, part, items=rows, parameters=options.parameters, threads=options.threads)

    if way == "refit":
        return Refitted(fit, len(past.rows), bounds)
    model = fit(len(past.rows))
    return model if way == "frozen" else learning(model, past, known)


def learning(model: Model, past: Events, known: int) -> Model:
    """`model`, its factors solved again with every event from now on; other models learn as they are."""
    if isinstance(model, Ials):
        return LearningIals.fitted(past, items=known, parameters=model.parameters)
    if isinstance(model, Blend):
        return Blend([learning(member, past, known) for member in model.models], model.parameters)
    return model


def _first(events: Events, count: int) -> Events:
    sessions, rows, kinds, times_ms = events
    return Events(sessions[:count], rows[:count], kinds[:count], times_ms[:count])


def _cut(events: Events, options: PrequentialOptions, *, timed: bool) -> tuple[int, int]:
    """The first event after the cut, and the end of the run."""
    count = len(events.rows)
    cut, end = round(count * options.share), count
    if timed and options.days > 0:
        begin_ms = int(events.times_ms[0]) // DAY_MS * DAY_MS
        cut = int(np.searchsorted(events.times_ms, begin_ms + options.days * DAY_MS))
        if options.run_days > 0:
            end = int(np.searchsorted(events.times_ms, begin_ms + (options.days + options.run_days) * DAY_MS))
    if not 0 < cut < end:
        raise EvaluationInputError(
            wanted="events before and after the cut",
            got=f"{cut} before and {end - cut} after, of {count}",
            next_step="take other --days or --share",
        )
    return cut, end


def _refit_bounds(events: Events, cut: int, options: PrequentialOptions, *, timed: bool) -> tuple[int, ...]:
    if not timed:
        return tuple(np.linspace(cut, len(events.rows), 11).astype(int)[1:-1].tolist())
    begin_ms = int(events.times_ms[0]) // DAY_MS * DAY_MS
    last_ms = int(events.times_ms[-1])
    marks = np.arange(begin_ms, last_ms + 1, options.refit_days * DAY_MS)
    places = np.searchsorted(events.times_ms, marks)
    return tuple(sorted({int(place) for place in places if cut < place < len(events.rows)}))


def rolling_share(hits: Mapping[str, NDArray[np.bool_]], *, window: int) -> dict[str, NDArray[np.float64]]:
    """Per way the share of hits in each run of `window` targets, one point a window."""
    points = {}
    for way, hit in hits.items():
        whole = len(hit) // window * window
        points[way] = hit[:whole].reshape(-1, window).mean(axis=1)
    return points
