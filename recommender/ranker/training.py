"""Fit the ranker on the newest sessions, with features from models that learnt only what came before them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.errors import RankerUnavailableError
from recommender.models.protocol import KIND_WEIGHT, Events, Prefix
from recommender.ranker.features import FEATURES
from recommender.ranker.model import RankedModels, Ranker
from recommender.ranker.trees import LEAVES_MAX, NO_TREES, Trees, from_lightgbm


class RankerParameters(msgspec.Struct, frozen=True):
    """Settings of a fit, tuned on the validation parts of four public sets.

    Attributes:
        share: of the sessions, the newest, that questions are asked of.
        questions_wanted: where the newest sessions hold fewer, those before them are asked as well, by models that
            learnt only what came before these, up to `cuts_max` times.
        questions_max: of one cut, drawn by session.
        questions_min: in all; fewer teach nothing.
        rounds, learning_rate, leaf_rows_min, l2, feature_share: of the boosting.
        events_max: newest events of a session that a question looks back on.
        seed: of the draws.
    """

    share: float = 0.07
    questions_wanted: int = 4_000
    cuts_max: int = 3
    questions_max: int = 12_000
    questions_min: int = 300
    rounds: int = 150
    learning_rate: float = 0.1
    leaf_rows_min: int = 1_000
    l2: float = 20.0
    feature_share: float = 0.7
    events_max: int = 30
    seed: int = 7


class Question(NamedTuple):
    """What a visitor had done, and what came next."""

    prefix: Prefix
    label: int


class TrainingRows(NamedTuple):
    """Candidates of many questions, one after another.

    Attributes:
        features: shape (n, len(FEATURES)).
        labels: shape (n,), 1 for what came next.
        sizes: shape (questions,), how many candidates each has.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    sizes: NDArray[np.int64]


def fit_ranker(
    events: Events,
    build: Callable[[Events], RankedModels],
    parameters: RankerParameters,
    *,
    items: int,
    threads: int = 1,
    keep_repeats: bool = False,
) -> Trees:
    """Trees fitted on the newest sessions of `events`; `gather_rows` says what the arguments are.

    Raises:
        RankerUnavailableError: LightGBM cannot be loaded here, or there are too few questions.
    """
    table = gather_rows(events, build, parameters, items=items, keep_repeats=keep_repeats)
    return fit_trees(table, parameters, threads=threads)


def gather_rows(
    events: Events,
    build: Callable[[Events], RankedModels],
    parameters: RankerParameters,
    *,
    items: int,
    keep_repeats: bool = False,
) -> TrainingRows:
    """Questions of the newest sessions, and what models that learnt only older ones know of their candidates.

    Args:
        events: in order; not modified.
        build: the models after learning events. It is asked once a cut, never with a session that is asked about.
        parameters: of the fit.
        items: how many rows there are.
        keep_repeats: an item may follow itself, and is asked for.
    """
    tables: list[TrainingRows] = []
    while len(tables) < parameters.cuts_max and len(events.rows):
        first = first_asked(events, parameters.share)
        past = before(events, first)
        if not len(past.rows):
            break
        questions = questions_of(events, first, parameters, keep_repeats=keep_repeats)
        ranker = Ranker(build(past), NO_TREES)
        tables.append(training_rows(ranker, questions, items=items, leave_out_current=not keep_repeats))
        if sum(len(table.sizes) for table in tables) >= parameters.questions_wanted:
            break
        events = past
    return joined(tables)


def joined(tables: Sequence[TrainingRows]) -> TrainingRows:
    """One table, the questions of the first first."""
    if not tables:
        return TrainingRows(np.empty((0, len(FEATURES)), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    return TrainingRows(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))


def first_asked(events: Events, share: float) -> int:
    """The first session of the newest `share`; what the models learn from lies before it."""
    sessions = np.unique(events.sessions)
    return int(sessions[min(len(sessions) - 1, int(len(sessions) * (1 - share)))]) if len(sessions) else 0


def before(events: Events, session: int) -> Events:
    """The events of sessions older than `session`."""
    kept = events.sessions < session
    sessions, rows, kinds, times_ms = events
    return Events(sessions[kept], rows[kept], kinds[kept], times_ms[kept])


def questions_of(events: Events, first: int, parameters: RankerParameters, *, keep_repeats: bool) -> list[Question]:
    """Every place of the sessions from `first` on, from their second event; whole sessions, at most `questions_max`."""
    kept = (events.sessions >= first) & (KIND_WEIGHT[events.kinds] > 0)
    order = np.argsort(events.sessions[kept], kind="stable")
    place = np.flatnonzero(kept)[order]
    sessions, rows, kinds, times_ms = (
        events.sessions[place],
        events.rows[place],
        events.kinds[place],
        events.times_ms[place],
    )
    if not keep_repeats and len(rows):
        moved = np.append(True, (rows[1:] != rows[:-1]) | (sessions[1:] != sessions[:-1]))
        sessions, rows, kinds, times_ms = sessions[moved], rows[moved], kinds[moved], times_ms[moved]
    begins = np.flatnonzero(np.append(True, sessions[1:] != sessions[:-1])) if len(rows) else np.empty(0, np.int64)
    ends = np.append(begins[1:], len(rows))
    drawn = np.random.default_rng(parameters.seed).permutation(len(begins))
    questions: list[Question] = []
    for number in drawn:
        for end in range(int(begins[number]) + 1, int(ends[number])):
            begin = max(int(begins[number]), end - parameters.events_max)
            past = Prefix(rows[begin:end], kinds[begin:end], times_ms[begin:end])
            questions.append(Question(past, int(rows[end])))
        if len(questions) >= parameters.questions_max:
            break
    return questions


def training_rows(ranker: Ranker, questions: list[Question], *, items: int, leave_out_current: bool) -> TrainingRows:
    """What the ranker sees of every question whose answer is among its candidates; the others teach no order."""
    kept = [each for each in _described(ranker, questions, items, leave_out_current) if each[1].any()]
    if not kept:
        return joined(())
    features = np.concatenate([each.T for each, _ in kept])
    labels = np.concatenate([hits for _, hits in kept]).astype(np.float32)
    return TrainingRows(features, labels, np.array([len(hits) for _, hits in kept]))


def fit_trees(table: TrainingRows, parameters: RankerParameters, *, threads: int = 1) -> Trees:
    """LambdaMART on `table`; the same table and parameters give the same trees.

    Raises:
        RankerUnavailableError: LightGBM cannot be loaded here, or there are too few questions.
    """
    if len(table.sizes) < parameters.questions_min:
        raise RankerUnavailableError(
            f"ranker: wanted {parameters.questions_min} questions to learn from; got {len(table.sizes)}; "
            "the ranker at hand goes on serving until there are more"
        )
    try:
        # It loads libgomp.so.1, which a bare machine may lack; nothing but a fit needs either.
        import lightgbm
    except (ImportError, OSError) as error:
        raise RankerUnavailableError(
            f"ranker: wanted LightGBM for a refit; got {error}; install the system's libgomp "
            "(Debian: apt-get install libgomp1); the ranker at hand goes on serving until then"
        ) from error
    settings = {
        "objective": "lambdarank",
        "label_gain": [0, 1],
        "num_leaves": LEAVES_MAX,
        "min_data_in_leaf": parameters.leaf_rows_min,
        "lambda_l2": parameters.l2,
        "feature_fraction": parameters.feature_share,
        "learning_rate": parameters.learning_rate,
        "use_missing": False,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "seed": parameters.seed,
        "verbose": -1,
    }
    rows = lightgbm.Dataset(table.features, table.labels, group=table.sizes, feature_name=list(FEATURES))
    try:
        return from_lightgbm(lightgbm.train(settings, rows, parameters.rounds).dump_model())
    except lightgbm.basic.LightGBMError as error:
        raise RankerUnavailableError(
            f"ranker: wanted a fit by LightGBM; got {error}; the ranker at hand goes on serving"
        ) from error


def _described(
    ranker: Ranker, questions: list[Question], items: int, leave_out_current: bool
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    blocked = np.zeros(items, np.bool_)
    for prefix, label in questions:
        current = int(prefix.rows[-1])
        blocked[current] = leave_out_current
        candidates = ranker.describe(prefix, blocked)
        blocked[current] = False
        yield candidates.features, candidates.rows == label
