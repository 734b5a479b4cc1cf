"""`afterclick evaluate` and `afterclick rebuild`: what is done with files and stores, not with a running server."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from afterclick.console import errors_without_traceback, say

Text = str | None


def evaluate(
    train: Annotated[str, typer.Option(help="FILE or FILE:SPLIT, several splits joined by +.")],
    test: Annotated[Text, typer.Option(help="FILE or FILE:SPLIT.")] = None,
    pairs: Annotated[Text, typer.Option(help="A file of (prefix, label) rows, instead of --test.")] = None,
    model: Annotated[
        str, typer.Option(help="popularity, transitions, session-knn, ials, own-session or blend.")
    ] = "blend",
    k: Annotated[int, typer.Option(help="Length of a list.")] = 20,
    keep_repeats: Annotated[bool, typer.Option("--keep-repeats", help="Do not collapse consecutive repeats.")] = False,
    lists: Annotated[Text, typer.Option(help="Write every target's list here, as Parquet.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
) -> None:
    """Rank the next item at every position of the test sessions, and say how well."""
    import msgspec

    from recommender.errors import RecommenderError
    from recommender.evaluation.run import EvaluationOptions, run_evaluation, write_report

    with errors_without_traceback(RecommenderError, msgspec.ValidationError):
        options = msgspec.convert(
            {
                "train": train,
                "test": test,
                "pairs": pairs,
                "model": model,
                "k": k,
                "keep_repeats": keep_repeats,
                "lists_out": lists,
            },
            EvaluationOptions,
        )
        report = run_evaluation(options)
        if json is not None:
            write_report(report, json)
        for name, figure in report.figures.items():
            say(f"{name:10} {figure:.4f} ± {report.standard_errors[name]:.4f}")
        say(f"coverage   {report.coverage:.4f}")
        say(f"targets    {report.targets} in {report.sessions} sessions, {report.targets_unknown} of unknown items")


def rebuild(
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    data_dir: Annotated[Text, typer.Option(help="The installation's data folder.")] = None,
) -> None:
    """Wipe the online store of the running system and build it again from archive and bus."""
    from afterclick.rebuild import rebuild_running
    from afterclick.settings import load_settings
    from feature_store.errors import FeatureStoreError
    from ingest.errors import IngestError

    with errors_without_traceback(FeatureStoreError, IngestError):
        events = asyncio.run(rebuild_running(load_settings(config, data_dir=data_dir)))
        say(f"Online store rebuilt from {events} events")
