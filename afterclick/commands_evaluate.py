"""`afterclick evaluate …`: measure models on files of clicks, or on an installation's own archive."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afterclick.console import errors_without_traceback, say

if TYPE_CHECKING:
    from recommender.evaluation.run import EvaluationOptions

app = typer.Typer(help="Measure models on files of clicks.", invoke_without_command=True)

Text = str | None
Train = Annotated[Text, typer.Option(help="FILE or FILE:SPLIT, several splits joined by +, or an archive's folder.")]
Stream = Annotated[str, typer.Option(help="FILE or FILE:SPLIT, or an archive's folder: the stream of clicks.")]
Test = Annotated[Text, typer.Option(help="FILE or FILE:SPLIT.")]
Pairs = Annotated[Text, typer.Option(help="A file of (prefix, label) rows, instead of --test.")]
Holdout = Annotated[
    float | None, typer.Option(help="Test on this share of --train, its newest sessions, instead of --test.")
]
ModelName = Annotated[
    str,
    typer.Option(
        help="popularity, transitions, session-knn, ials, own-session, attention, blend, ranker or ranker-shipped."
    ),
]
K = Annotated[int, typer.Option(help="Length of a list.")]
Repeats = Annotated[
    bool | None,
    typer.Option(
        "--keep-repeats/--collapse-repeats",
        help="Are consecutive repeats learnt and asked for? Told neither: where --pairs are asked.",
    ),
]
Json = Annotated[Path | None, typer.Option(help="Write the report here.")]
Plots = Annotated[Path | None, typer.Option(help="Draw the plots into this folder.")]


@app.callback()
def evaluate(
    context: typer.Context,
    train: Train = None,
    test: Test = None,
    pairs: Pairs = None,
    holdout: Holdout = None,
    model: ModelName = "blend",
    k: K = 20,
    keep_repeats: Repeats = None,
    lists: Annotated[Text, typer.Option(help="Write every target's list here, as Parquet.")] = None,
    json: Json = None,
    plots: Plots = None,
) -> None:
    """Rank the next item at every position of the test sessions, and say how well."""
    if context.invoked_subcommand is not None:
        return
    with _told():
        from recommender.evaluation.run import run_evaluation

        report = run_evaluation(_options(train, test, pairs, holdout, model, k, keep_repeats, lists=lists))
        _write(report.to_json(), json)
        errors = report.standard_errors
        rows = [(name, f"{figure:.4f}", f"± {errors[name]:.4f}") for name, figure in report.figures.items()]
        rows += [("coverage", f"{report.coverage:.4f}", ""), ("gini", f"{report.gini:.4f}", "")]
        _table(f"{model}, {report.targets} targets", ("figure", "value", "standard error"), rows)
        say(f"targets    {report.targets} in {report.sessions} sessions, {report.targets_unknown} of unknown items")
        if plots is not None:
            from recommender.evaluation.plots import plot_evaluation

            say(f"plot       {plot_evaluation(report, plots)}")


@app.command()
def compare(
    train: Stream,
    against: Annotated[str, typer.Option(help="The model whose gain over --model is judged.")],
    test: Test = None,
    pairs: Pairs = None,
    holdout: Holdout = None,
    model: ModelName = "ials",
    k: K = 20,
    keep_repeats: Repeats = None,
    json: Json = None,
    plots: Plots = None,
) -> None:
    """Ask two models the same questions; a paired bootstrap over sessions says whether they differ."""
    with _told():
        from recommender.evaluation.compare_models import run_comparison

        report = run_comparison(_options(train, test, pairs, holdout, model, k, keep_repeats), against)
        _write(report.to_json(), json)
        rows = [
            (
                name,
                f"{each.first:.4f}",
                f"{each.second:.4f}",
                f"{each.gain:+.4f} ± {each.standard_error:.4f}",
                f"{each.low:+.4f} … {each.high:+.4f}",
                f"{each.p_value:.4f}",
            )
            for name, each in report.differences.items()
        ]
        _table(f"{report.targets} targets", ("figure", model, against, "gain", "95 % interval", "p"), rows)
        if plots is not None:
            from recommender.evaluation.plots import plot_comparison

            say(f"plot       {plot_comparison(report, plots)}")


@app.command()
def rolling(
    train: Stream,
    model: ModelName = "blend",
    k: K = 20,
    windows: Annotated[int, typer.Option(help="How many windows, side by side, to the end of the file.")] = 5,
    history: Annotated[float, typer.Option(help="The share of all sessions that each training holds.")] = 0.5,
    json: Json = None,
    plots: Plots = None,
) -> None:
    """Train on the sessions before a window, ask the window's, move on."""
    with _told():
        import msgspec

        from recommender.evaluation.rolling import RollingOptions, run_rolling

        given = {"train": train, "model": model, "k": k, "windows": windows, "history": history}
        report = run_rolling(msgspec.convert(given, RollingOptions))
        _write(report.to_json(), json)
        names = [f"{name}@{k}" for name in ("hr", "mrr", "ndcg", "recall", "map")]
        rows = [
            (
                str(number),
                str(window.targets),
                *(f"{window.figures[name]:.4f} ± {window.standard_errors[name]:.4f}" for name in names),
            )
            for number, window in enumerate(report.windows, 1)
        ]
        _table(model, ("window", "targets", *names), rows)
        if plots is not None:
            from recommender.evaluation.plots import plot_rolling

            say(f"plot       {plot_rolling(report, plots)}")


@app.command()
def prequential(
    train: Stream,
    model: ModelName = "blend",
    k: K = 20,
    days: Annotated[float, typer.Option(help="First days that every way begins with; 0: by --share.")] = 3.0,
    share: Annotated[float, typer.Option(help="Without times: the share of events to begin with.")] = 0.5,
    run_days: Annotated[float, typer.Option(help="Days to run after those; 0: to the end.")] = 0.0,
    refit_days: Annotated[float, typer.Option(help="Days between two refits.")] = 1.0,
    json: Json = None,
    plots: Plots = None,
) -> None:
    """Rank, then learn, event by event: frozen against refitted daily against learning at once."""
    with _told():
        import msgspec

        from recommender.evaluation.prequential_study import PrequentialOptions, run_prequential_study

        given = {
            "train": train,
            "model": model,
            "k": k,
            "days": days,
            "share": share,
            "run_days": run_days,
            "refit_days": refit_days,
        }
        with _progress() as bar:
            task = bar.add_task("events", total=None)
            report = run_prequential_study(
                msgspec.convert(given, PrequentialOptions),
                lambda done, of: bar.update(task, completed=done, total=of),
            )
        _write(report.to_json(), json)
        hr, mrr = f"hr@{k}", f"mrr@{k}"
        rows = []
        for way, figures in report.figures.items():
            gain = report.gains.get(way)
            told = f"{gain[hr].gain:+.4f} ± {gain[hr].standard_error:.4f}" if gain else ""
            new = f"{report.new_hits[way]} of {report.new_targets}"
            rows.append((way, f"{figures[hr]:.4f}", f"{figures[mrr]:.4f}", told, new))
        _table(f"{model}, {report.targets} targets", ("way", hr, mrr, f"gain in {hr}", "new items hit"), rows)
        if plots is not None:
            from recommender.evaluation.plots import plot_prequential

            say(f"plot       {plot_prequential({model: report}, plots / 'prequential.png')}")


@app.command()
def search(
    train: Stream,
    model: Annotated[str, typer.Option(help="ials, session-knn or transitions.")] = "ials",
    test: Annotated[Text, typer.Option(help="The validation part, FILE or FILE:SPLIT.")] = None,
    holdout: Holdout = None,
    k: K = 20,
    trials: Annotated[int, typer.Option(help="How many the study shall have in the end.")] = 40,
    study: Annotated[Path | None, typer.Option(help="The study's file; an existing one is gone on with.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="An installation's data folder: the best settings are kept there for its learner."),
    ] = None,
) -> None:
    """Search a model's settings on a validation part; broken off, the same command goes on."""
    with _told():
        from recommender.evaluation.search import SPACES, SearchOptions, Trial, run_search
        from recommender.tuned_parameters import keep_tuned

        file = study if study is not None else Path("build/studies") / f"{model}.jsonl"
        options = SearchOptions(
            evaluation=_options(train, test, None, holdout, model, k, False), study=file, trials=trials
        )
        with _progress() as bar:
            task = bar.add_task("trials", total=trials)

            def told(trial: Trial, best: Trial) -> None:
                best_told = f"trials, best {best.score:.4f} (trial {best.number})"
                bar.update(task, completed=trial.number + 1, description=best_told)

            best = run_search(options, told)
        field, space = SPACES[model]
        chosen = {name: value for name, value in best.settings.items() if name in space}
        rows = [(name, str(value)) for name, value in chosen.items()]
        _table(f"{model}, best of {trials} trials: HR + MRR {best.score:.4f}", ("setting", "value"), rows)
        say(f"study      {file}")
        if keep is not None:
            found = f"best of {trials} trials by HR@{k} + MRR@{k}, {best.score:.4f}, on {train}"
            kept = keep_tuned(keep / "model", field, chosen, found=found)
            say(f"kept in    {kept}; the learner reads it at its start")


@app.command(name="off-policy")
def off_policy(
    order: Annotated[str, typer.Option(help="ranked, reversed or uniform: how else the last slots could stand.")] = (
        "ranked"
    ),
    pin: Annotated[Text, typer.Option(help="Judge this item, always in --slot, instead.")] = None,
    slot: Annotated[int, typer.Option(help="Of the pin; 1 is the answer's first.")] = 1,
    orders: Annotated[
        Path | None, typer.Option(help="Parquet with recommendation_id and the list items: another model's order.")
    ] = None,
    placement: Annotated[Text, typer.Option(help="Only answers of this one.")] = None,
    days: Annotated[float, typer.Option(help="Of answers, the newest.")] = 30.0,
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    data_dir: Annotated[Text, typer.Option(help="The running installation's data folder.")] = None,
    json: Json = None,
) -> None:
    """Clicks an answer that another order would have earned, from the answers that chance ordered."""
    import asyncio

    with _told():
        from afterclick.off_policy import Question, answers_of_running, judge
        from afterclick.settings import load_settings
        from recommender.errors import EvaluationInputError
        from recommender.evaluation.judged_orders import ORDERS

        if order not in ORDERS:
            raise EvaluationInputError(
                wanted=f"--order {', '.join(ORDERS)}", got=order, next_step="name one, or give a file with --orders"
            )
        question = Question(order=order, pin=pin, slot=slot, orders=orders, placement=placement, days=days)
        settings = load_settings(config, data_dir=data_dir)
        report = judge(*asyncio.run(answers_of_running(settings, question)), question)
        _write(report.to_json(), json)
        found = report.outcome
        named = (
            ("as it was logged", found.logged),
            ("IPS", found.ips),
            ("SNIPS", found.snips),
            ("doubly robust", found.doubly_robust),
        )
        rows = [(name, f"{each.value:.4f}", f"{each.low:.4f} … {each.high:.4f}") for name, each in named]
        _table(f"clicks an answer in the slots left to chance: {report.what}", ("", "value", "95 % interval"), rows)
        explored, total = report.answers_explored, report.answers_total
        say(f"answers    {report.answers_judged} judged, of {explored} explored, of {total}")
        say(f"rests on   {found.slots_shown} shows, effectively {found.effective_sample_size:.0f}")


def _options(
    train: Text,
    test: Text,
    pairs: Text,
    holdout: float | None,
    model: str,
    k: int,
    keep_repeats: bool | None,
    *,
    lists: Text = None,
) -> "EvaluationOptions":
    import msgspec

    from recommender.errors import EvaluationInputError
    from recommender.evaluation.run import EvaluationOptions

    if train is None:
        raise EvaluationInputError(
            wanted="--train FILE", got="none", next_step="name a file of clicks; `afterclick evaluate --help` says more"
        )
    given: dict[str, Any] = {
        "train": train,
        "test": test,
        "pairs": pairs,
        "holdout": holdout,
        "model": model,
        "k": k,
        "keep_repeats": keep_repeats,
        "lists_out": lists,
    }
    return msgspec.convert(given, EvaluationOptions)


def _told() -> Any:
    # Here and below: what evaluation needs is 200 MB that `afterclick up` must not hold.
    import msgspec

    from recommender.errors import RecommenderError

    return errors_without_traceback(RecommenderError, msgspec.ValidationError)


def _write(report: dict[str, Any], path: Path | None) -> None:
    from recommender.evaluation.report_file import write_json

    if path is not None:
        write_json(report, path)


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
