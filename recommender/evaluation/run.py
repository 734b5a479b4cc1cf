"""One evaluation from files to figures: read, train, rank every target, measure."""

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recommender.errors import EvaluationInputError
from recommender.evaluation.builders import ModelParameters, train, used_parameters
from recommender.evaluation.clicks import Clicks, parse_spec, read_clicks, read_pairs
from recommender.evaluation.metrics import gains, measure, ranks_of, standard_errors
from recommender.evaluation.targets import UNKNOWN, Targets, pair_targets, session_targets, training_events
from recommender.models.item_table import ItemTable
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model, Rows


class EvaluationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to evaluate.

    Attributes:
        train, test: `FILE`, `FILE:SPLIT` or `FILE:SPLIT+SPLIT`.
        pairs: a file of (`prefix`, `label`) rows, instead of `test`.
        model: a name of `builders.MODEL_NAMES`.
        k: length of a list.
        keep_repeats: do not collapse consecutive repeats, in training and test.
        lists_out: where every target's list is written, as Parquet.
        parameters: of the models.
        threads: of the fit; 0: one per core. The figures do not depend on it.
    """

    train: str
    test: str | None = None
    pairs: str | None = None
    model: str = "blend"
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    keep_repeats: bool = False
    lists_out: str | None = None
    parameters: ModelParameters = ModelParameters()
    threads: int = 0


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; `figures` are keyed as the JSON has them (`hr@20`)."""

    options: EvaluationOptions
    figures: dict[str, float]
    standard_errors: dict[str, float]
    coverage: float
    targets: int
    targets_unknown: int
    sessions: int
    items: int
    seconds_training: float
    seconds_ranking: float

    def to_json(self) -> dict[str, Any]:
        """The report as `--json` writes it."""
        options = self.options
        return {
            "model": options.model,
            "train": options.train,
            "test": options.test if options.pairs is None else options.pairs,
            "k": options.k,
            "keep_repeats": options.keep_repeats,
            **self.figures,
            "coverage": self.coverage,
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
    _check(options)
    begin_s = time.perf_counter()
    clicks = read_clicks(parse_spec(options.train), keep_repeats=options.keep_repeats)
    items = ItemTable()
    events = training_events(clicks, items)
    parameters = _with_repeats(options.parameters, options.keep_repeats)
    model = train(options.model, events, items=len(items), parameters=parameters, threads=options.threads)
    trained_s = time.perf_counter()
    targets, item_dtype = _targets(options, items, clicks)
    lists = rank_all(model, targets, k=options.k, filler=fallback(events, len(items)))
    ranked_s = time.perf_counter()
    if options.lists_out is not None:
        write_lists(Path(options.lists_out), targets, lists, items, item_dtype)
    ranks = ranks_of(lists, targets.labels)
    names = tuple(f"{name}@{options.k}" for name in ("hr", "mrr", "ndcg"))
    errors = standard_errors(gains(ranks), targets.clusters)
    return EvaluationReport(
        options=options,
        figures=dict(zip(names, measure(ranks), strict=True)),
        standard_errors=dict(zip(names, (float(error) for error in errors), strict=True)),
        coverage=len(np.unique(lists[lists != UNKNOWN])) / len(items),
        targets=len(ranks),
        targets_unknown=int((targets.labels == UNKNOWN).sum()),
        sessions=len(np.unique(targets.clusters)),
        items=len(items),
        seconds_training=trained_s - begin_s,
        seconds_ranking=ranked_s - trained_s,
    )


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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report.to_json()), indent=2) + b"\n")


def _check(options: EvaluationOptions) -> None:
    if (options.test is None) == (options.pairs is None):
        raise EvaluationInputError(
            wanted="one of --test and --pairs",
            got="both" if options.test is not None else "neither",
            next_step="name the file to test on, one of the two",
        )


def _with_repeats(parameters: ModelParameters, keep_repeats: bool) -> ModelParameters:
    if not keep_repeats:
        return parameters
    return msgspec.structs.replace(
        parameters,
        session_knn=msgspec.structs.replace(parameters.session_knn, keep_repeats=True),
        transitions=msgspec.structs.replace(parameters.transitions, keep_repeats=True),
    )


def _targets(options: EvaluationOptions, items: ItemTable, train_clicks: Clicks) -> tuple[Targets, pl.DataType]:
    if options.pairs is not None:
        return pair_targets(read_pairs(Path(options.pairs)), items), train_clicks.item_dtype
    clicks = read_clicks(parse_spec(str(options.test)), keep_repeats=options.keep_repeats)
    return session_targets(clicks, items), clicks.item_dtype


def _empty(frame: pl.DataFrame) -> int:
    return int((frame["items"].list.len() == 0).sum())
