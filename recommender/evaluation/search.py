"""Search a model's settings on a validation part: seeded trials around the best so far, each written down as it ends.

The study is a file of JSON lines, one a trial, flushed to disk. A trial's draw is a function of the seed, its number
and the trials before it, so that a study broken off and taken up again makes the very trials it would have made.
"""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from recommender.errors import EvaluationInputError
from recommender.evaluation.builders import ModelParameters
from recommender.evaluation.outcome import outcome_of
from recommender.evaluation.run import EvaluationOptions, Prepared, prepare, rank_all, trained_model

DAY_MS = 86_400_000.0
Space = Mapping[str, Sequence[Any]]

SPACES: Mapping[str, tuple[str, Space]] = {
    "ials": (
        "ials",
        {
            "factors": (64, 128, 192),
            "alpha": (None, 30.0, 100.0, 300.0, 1000.0),
            "regularization": (10.0, 30.0, 50.0, 80.0, 120.0),
            "iterations": (5, 8, 12, 16),
            "decay": (0.4, 0.7, 0.85, 1.0, 1.3),
            "last": (8, 15, 30),
        },
    ),
    "session-knn": (
        "session_knn",
        {
            "sessions_per_item": (500, 1000, 2000),
            "neighbours": (100, 200, 500, 1000),
            "last": (8, 15, 30),
            "recency": (1.5, 2.0, 3.0, 4.0, 6.0),
            "age": (0.5, 1.0, 2.0, 4.0),
            "reach": (1.0, 2.0, 3.0, 6.0),
            "before": (0.5, 0.7, 1.0),
            "self_weight": (0.7, 1.0, 1.5, 2.0),
            "rarity": (0.5, 1.0, 1.5),
            "rarity_answer": (0.5, 0.75, 1.0),
        },
    ),
    "transitions": (
        "transitions",
        {
            "steps": (5, 10, 15),
            "reverse": (0.3, 0.6, 0.8, 1.0),
            "norm": (0.5, 0.7, 0.85, 1.0),
            "last": (4, 8, 12, 20),
            "decay": (0.35, 0.5, 0.7, 1.0),
            "half_life_ms": tuple(DAY_MS * days for days in (2, 4, 7, 14, 30)),
        },
    ),
}
"""Per model the field of `ModelParameters` it is searched in, and the values tried."""

# So many trials draw every setting anew; later ones change one or two of the best.
_WIDE_TRIALS = 20


class SearchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to search.

    Attributes:
        evaluation: training and validation part; its model is the one searched.
        trials: how many the study shall have in the end, those already in it included.
        study: the file; made when it is not there, gone on with when it is.
        seed: of the draws.
    """

    evaluation: EvaluationOptions
    study: Path
    trials: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 40
    seed: int = 1


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a study. `score`: HR@k + MRR@k."""

    number: int
    score: float
    figures: dict[str, float]
    settings: dict[str, Any]
    seconds: float


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what a study is of; another one may not go on in its file."""

    model: str
    train: str
    test: str | None
    holdout: float | None
    k: int
    seed: int


def run_search(options: SearchOptions, progress: Callable[[Trial, Trial], None]) -> Trial:
    """Make the trials that the study lacks, and return the best of all.

    Args:
        progress: called with each trial and the best so far, those read from the file included.

    Raises:
        EvaluationInputError: as `prepare`; the model has no settings; the file is another study's or is broken.
    """
    name = options.evaluation.model
    if name not in SPACES:
        raise EvaluationInputError(
            wanted=f"a model with settings to search: {', '.join(SPACES)}", got=name, next_step="name one of those"
        )
    field, space = SPACES[name]
    trials = _open_study(options)
    for number in range(len(trials)):
        progress(trials[number], _best(trials[: number + 1]))
    prepared = prepare(options.evaluation) if len(trials) < options.trials else None
    start = msgspec.to_builtins(getattr(options.evaluation.parameters, field))
    while prepared is not None and len(trials) < options.trials:
        settings = draw(space, start, trials, seed=options.seed)
        trials.append(_try(len(trials), settings, field, options.evaluation, prepared))
        _append(options.study, trials[-1])
        progress(trials[-1], _best(trials))
    return _best(trials)


def draw(space: Space, start: Mapping[str, Any], trials: Sequence[Trial], *, seed: int) -> dict[str, Any]:
    """The next trial's settings: first the start itself, then wide draws, then small steps from the best."""
    number = len(trials)
    if number == 0:
        return dict(start)
    chance = random.Random(f"{seed}/{number}")
    fields = list(space) if number < _WIDE_TRIALS else chance.sample(list(space), chance.choice((1, 1, 2)))
    tried = [trial.settings for trial in trials]
    base = _best(trials).settings
    settings = dict(base)
    for _ in range(20):
        settings = {**base, **{name: chance.choice(space[name]) for name in fields}}
        if settings not in tried:
            break
    return settings


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: (trial.score, -trial.number))


def _try(number: int, settings: dict[str, Any], field: str, options: EvaluationOptions, prepared: Prepared) -> Trial:
    started_s = time.perf_counter()
    chosen = msgspec.convert(settings, type(getattr(options.parameters, field)))
    tried = msgspec.structs.replace(options, parameters=msgspec.structs.replace(options.parameters, **{field: chosen}))
    model = trained_model(options.model, prepared, tried)
    lists = rank_all(model, prepared.targets, k=options.k, filler=prepared.filler)
    figures = outcome_of(lists, prepared.targets, prepared.events, items=len(prepared.items)).figures()
    score = figures[f"hr@{options.k}"] + figures[f"mrr@{options.k}"]
    seconds = round(time.perf_counter() - started_s, 3)
    return Trial(number=number, score=score, figures=figures, settings=settings, seconds=seconds)


def _head(options: SearchOptions) -> _Head:
    asked = options.evaluation
    return _Head(
        model=asked.model, train=asked.train, test=asked.test, holdout=asked.holdout, k=asked.k, seed=options.seed
    )


def _open_study(options: SearchOptions) -> list[Trial]:
    """The trials that are there; a last line that a crash cut off is dropped, for its trial is made again."""
    wanted = _head(options)
    if not options.study.exists():
        options.study.parent.mkdir(parents=True, exist_ok=True)
        options.study.write_bytes(msgspec.json.encode(wanted) + b"\n")
        return []
    whole, _, _ = options.study.read_bytes().rpartition(b"\n")
    first, *others = whole.split(b"\n")
    try:
        head = msgspec.json.decode(first, type=_Head)
        trials = [msgspec.json.decode(line, type=Trial) for line in others]
    except msgspec.DecodeError as error:
        raise EvaluationInputError(
            wanted=f"a study in {options.study.name}", got=str(error), next_step="name another file, or delete it"
        ) from error
    if head != wanted:
        raise EvaluationInputError(
            wanted=f"a study of {msgspec.json.encode(wanted).decode()}",
            got=f"{first.decode()} in {options.study.name}",
            next_step="name another file with --study",
        )
    options.study.write_bytes(whole + b"\n")
    return trials


def _append(path: Path, trial: Trial) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(trial) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def with_settings(parameters: ModelParameters, model: str, settings: Mapping[str, Any]) -> ModelParameters:
    """`parameters` with a trial's settings for `model` in them."""
    field, _ = SPACES[model]
    chosen = msgspec.convert(dict(settings), type(getattr(parameters, field)))
    return msgspec.structs.replace(parameters, **{field: chosen})
