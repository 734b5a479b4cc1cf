"""Rolling windows: train on the sessions before a window, ask the window's, move on; does the quality last?"""

from typing import Annotated, Any, NamedTuple

import msgspec
import polars as pl

from recommender.errors import EvaluationInputError
from recommender.evaluation.builders import ModelParameters, train
from recommender.evaluation.clicks import Clicks, parse_spec, read_clicks
from recommender.evaluation.outcome import outcome_of
from recommender.evaluation.run import fallback, rank_all
from recommender.evaluation.targets import session_targets, training_events
from recommender.models.item_table import ItemTable


class RollingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to roll over.

    Attributes:
        train: `FILE`, `FILE:SPLIT` or an archive's folder.
        model: a name of `builders.MODEL_NAMES`.
        windows: how many, side by side, up to the end of the file.
        history: the share of all sessions that each window's training holds, the newest before it.
    """

    train: str
    model: str = "blend"
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    windows: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    history: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    parameters: ModelParameters = ModelParameters()
    threads: int = 0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One window: its first and last session's begin (0 where the file has no times), and its figures."""

    from_ms: int
    to_ms: int
    sessions_trained: int
    sessions: int
    targets: int
    figures: dict[str, float]
    standard_errors: dict[str, float]


class RollingReport(msgspec.Struct, frozen=True, kw_only=True):
    """All windows, oldest first."""

    options: RollingOptions
    windows: tuple[Window, ...]

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        options = self.options
        return {
            "model": options.model,
            "train": options.train,
            "k": options.k,
            "history": options.history,
            "windows": msgspec.to_builtins(self.windows),
        }


def run_rolling(options: RollingOptions) -> RollingReport:
    """Every window in turn; a session belongs where its first event does, so the order of sessions is enough.

    Raises:
        EvaluationInputError: a file or model is not there, or there are too few sessions for so many windows.
    """
    clicks = read_clicks(parse_spec(options.train))
    sessions = clicks.events["session"].unique(maintain_order=True)
    span = round(len(sessions) * options.history)
    size = (len(sessions) - span) // options.windows
    if span < 1 or size < 1:
        raise EvaluationInputError(
            wanted=f"sessions for a history and {options.windows} windows behind it",
            got=f"{len(sessions)} sessions, {span} of them history",
            next_step="ask for fewer windows or a shorter history",
        )
    cuts = (_Cut(sessions, span + number * size, span, size) for number in range(options.windows))
    return RollingReport(options=options, windows=tuple(_window(clicks, cut, options) for cut in cuts))


class _Cut(NamedTuple):
    """A window begins at session `at`, holds `size`, and is trained on the `span` before it."""

    sessions: pl.Series
    at: int
    span: int
    size: int


def _window(clicks: Clicks, cut: _Cut, options: RollingOptions) -> Window:
    before = _of(clicks, cut.sessions[cut.at - cut.span : cut.at])
    inside = _of(clicks, cut.sessions[cut.at : cut.at + cut.size])
    items = ItemTable()
    events = training_events(before, items)
    targets = session_targets(inside, items)
    model = train(options.model, events, items=len(items), parameters=options.parameters, threads=options.threads)
    lists = rank_all(model, targets, k=options.k, filler=fallback(events, len(items)))
    outcome = outcome_of(lists, targets, events, items=len(items))
    begins = inside.events.group_by("session").agg(pl.col("time_ms").min())["time_ms"]
    return Window(
        from_ms=int(begins.min() or 0),  # type: ignore[arg-type]
        to_ms=int(begins.max() or 0),  # type: ignore[arg-type]
        sessions_trained=cut.span,
        sessions=cut.size,
        targets=len(outcome.ranks),
        figures=outcome.figures(),
        standard_errors=outcome.standard_errors(),
    )


def _of(clicks: Clicks, sessions: pl.Series) -> Clicks:
    return clicks._replace(events=clicks.events.filter(pl.col("session").is_in(sessions.implode())))
