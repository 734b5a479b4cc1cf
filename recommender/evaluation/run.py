"""One evaluation from files to figures: read, train, rank every target, measure."""

import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recommender.errors import EvaluationInputError
from recommender.evaluation.builders import ModelParameters, train, used_parameters
from recommender.evaluation.clicks import parse_spec, read_clicks, read_pairs, split_newest
from recommender.evaluation.outcome import outcome_of
from recommender.evaluation.report_file import write_json
from recommender.evaluation.targets import UNKNOWN, Targets, pair_targets, session_targets, training_events
from recommender.models.item_table import ItemTable
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model, Rows


class EvaluationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to evaluate.

    Attributes:
        train, test: `FILE`, `FILE:SPLIT` or `FILE:SPLIT+SPLIT`; a folder is an archive of events.
        pairs: a file of (`prefix`, `label`) rows, instead of `test`.
        holdout: the share of the newest sessions of `train` to test on, instead of `test`.
        model: a name of `builders.MODEL_NAMES`.
        k: length of a list.
        keep_repeats: do not collapse consecutive repeats, in training and test; None: only where `pairs` are asked, for
            there nothing is left out of a list, and a repeat can be hit.
        lists_out: where every target's list is written, as Parquet.
        parameters: of the models.
        threads: of the fit; 0: one per core. The figures do not depend on it.
    """

    train: str
    test: str | None = None
    pairs: str | None = None
    holdout: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    model: str = "blend"
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    keep_repeats: bool | None = None
    lists_out: str | None = None
    parameters: ModelParameters = ModelParameters()
    threads: int = 0

    @property
    def repeats(self) -> bool:
        """Are consecutive repeats kept?"""
        return self.pairs is not None if self.keep_repeats is None else self.keep_repeats


class Prepared(NamedTuple):
    """What every model of one evaluation is trained on and asked.

    Attributes:
        filler: every row, what lists are filled up with first.
        item_dtype: of the ids, as in the file.
    """

    items: ItemTable
    events: Events
    targets: Targets
    filler: Rows
    item_dtype: pl.DataType


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; `figures` are keyed as the JSON has them (`hr@20`), `ranks` are one per target, 0 for a miss."""

    options: EvaluationOptions
    figures: dict[str, float]
    standard_errors: dict[str, float]
    coverage: float
    gini: float
    targets: int
    targets_unknown: int
    sessions: int
    items: int
    seconds_training: float
    seconds_ranking: float
    ranks: NDArray[np.int64]
    prefix_lengths: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """The report as `--json` writes it."""
        options = self.options
        return {
            "model": options.model,
            "train": options.train,
            "test": options.test if options.pairs is None else options.pairs,
            "holdout": options.holdout,
            "k": options.k,
            "keep_repeats": options.repeats,
            **self.figures,
            "coverage": self.coverage,
            "gini": self.gini,
            "targets": self.targets,
            "targets_unknown": self.targets_unknown,
            "sessions": self.sessions,
            "items": self.items,
            "standard_errors": self.standard_errors,
            "seconds": round(self.seconds_training + self.seconds_ranking, 3),
            "seconds_training": round(self.seconds_training, 3),
            "seconds_ranking": round(self.seconds_ranking, 3),
            "parameters": used_parameters(options.model, options.parameters),
        }


def run_evaluation(options: EvaluationOptions) -> EvaluationReport:
    """Train on one file, rank every target of another; the same input gives the same figures and lists.

    Raises:
        EvaluationInputError: a file, column, split or model is not there, or the options contradict each other.
    """
    begin_s = time.perf_counter()
    prepared = prepare(options)
    events, items, targets = prepared.events, prepared.items, prepared.targets
    model = trained_model(options.model, prepared, options)
    trained_s = time.perf_counter()
    lists = rank_all(model, targets, k=options.k, filler=prepared.filler)
    ranked_s = time.perf_counter()
    if options.lists_out is not None:
        write_lists(Path(options.lists_out), targets, lists, items, prepared.item_dtype)
    outcome = outcome_of(lists, targets, events, items=len(items))
    return EvaluationReport(
        options=options,
        figures=outcome.figures(),
        standard_errors=outcome.standard_errors(),
        coverage=outcome.coverage,
        gini=outcome.gini,
        targets=len(outcome.ranks),
        targets_unknown=int((targets.labels == UNKNOWN).sum()),
        sessions=len(np.unique(targets.clusters)),
        items=len(items),
        seconds_training=trained_s - begin_s,
        seconds_ranking=ranked_s - trained_s,
        ranks=outcome.ranks,
        prefix_lengths=targets.ends - targets.begins,
    )


def prepare(options: EvaluationOptions) -> Prepared:
    """Read training and targets.

    Raises:
        EvaluationInputError: as `run_evaluation`.
    """
    _check(options)
    clicks = read_clicks(parse_spec(options.train), keep_repeats=options.repeats)
    test = None
    if options.holdout is not None:
        clicks, test = split_newest(clicks, options.holdout)
    items = ItemTable()
    events = training_events(clicks, items)
    if options.pairs is not None:
        targets, item_dtype = pair_targets(read_pairs(Path(options.pairs)), items), clicks.item_dtype
    else:
        test = test or read_clicks(parse_spec(str(options.test)), keep_repeats=options.repeats)
        targets, item_dtype = session_targets(test, items), test.item_dtype
    return Prepared(items, events, targets, fallback(events, len(items)), item_dtype)


def trained_model(name: str, prepared: Prepared, options: EvaluationOptions) -> Model:
    """The model `name`, trained as `options` say."""
    parameters = _with_repeats(options.parameters, options.repeats)
    return train(name, prepared.events, items=len(prepared.items), parameters=parameters, threads=options.threads)


def rank_all(model: Model, targets: Targets, *, k: int, filler: Rows) -> NDArray[np.int32]:
    """Shape (n, k): each target's list, filled up from `filler` (all rows, best first), then with -1."""
    lists = np.full((len(targets.labels), k), UNKNOWN, np.int32)
    blocked = np.zeros(len(filler), np.bool_)
    for question in range(len(lists)):
        current = targets.current(question)
        if current != UNKNOWN:
            blocked[current] = True
        rows = model.scores(targets.prefix(question), k, blocked).rows
        if len(rows) < k:
            more = filler[: 2 * k + 1]
            more = more[~np.isin(more, rows) & ~blocked[more]]
            rows = np.concatenate([rows, more[: k - len(rows)]])
        lists[question, : len(rows)] = rows
        if current != UNKNOWN:
            blocked[current] = False
    return lists


def fallback(events: Events, items: int) -> Rows:
    """Every row, most popular first, ties by row: what the whole catalogue is ranked by where a model is silent."""
    model = Popularity()
    model.update_many(events)
    popular = model.popular(int(events.times_ms.max()))
    counts = np.zeros(items, np.float32)
    counts[: len(popular)] = popular
    return np.argsort(-counts, kind="stable").astype(np.int32)


def write_lists(
    path: Path, targets: Targets, lists: NDArray[np.int32], items: ItemTable, item_dtype: pl.DataType
) -> None:
    """Parquet with `session`, `position`, `label`, `items` (best first), one row a target, in file order.

    Ids have the type `item_dtype` when every id fits into it, else they are text.
    """
    ids = pl.Series("id", list(items.ids), dtype=pl.String)
    flat = lists[lists != UNKNOWN]
    lengths = (lists != UNKNOWN).sum(axis=1)
    place = pl.DataFrame({"number": np.repeat(np.arange(len(lists)), lengths), "items": ids.gather(flat)})
    grouped = place.group_by("number", maintain_order=True).agg("items")
    frame = targets.asked.with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    frame = frame.join(grouped, on="number", how="left", maintain_order="left").drop("number")
    frame = frame.with_columns(pl.col("items").fill_null([]))
    if item_dtype.is_integer():
        numbers = frame.select(
            pl.col("label").cast(item_dtype, strict=False), pl.col("items").cast(pl.List(item_dtype), strict=False)
        )
        fits = numbers["label"].null_count() == 0 and numbers["items"].explode().null_count() == _empty(numbers)
        frame = frame.with_columns(numbers["label"], numbers["items"]) if fits else frame
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def write_report(report: EvaluationReport, path: Path) -> None:
    """The report as indented JSON."""
    write_json(report.to_json(), path)


def _check(options: EvaluationOptions) -> None:
    given = {"--test": options.test, "--pairs": options.pairs, "--holdout": options.holdout}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise EvaluationInputError(
            wanted="one of --test, --pairs and --holdout",
            got=" and ".join(named) or "none of them",
            next_step="say what to test on, by one of the three",
        )


def _with_repeats(parameters: ModelParameters, keep_repeats: bool) -> ModelParameters:
    if not keep_repeats:
        return parameters
    return msgspec.structs.replace(
        parameters,
        session_knn=msgspec.structs.replace(parameters.session_knn, keep_repeats=True),
        transitions=msgspec.structs.replace(parameters.transitions, keep_repeats=True),
    )


def _empty(frame: pl.DataFrame) -> int:
    return int((frame["items"].list.len() == 0).sum())
