"""Rolling windows, prequential runs, comparison and search, on small files; and through the command line."""

from pathlib import Path

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from afterclick.__main__ import app
from recommender.errors import EvaluationInputError, SnapshotRefusedError
from recommender.evaluation import EvaluationOptions, run_evaluation
from recommender.evaluation.clicks import parse_spec, read_clicks, split_newest
from recommender.evaluation.prequential_study import PrequentialOptions, run_prequential_study
from recommender.evaluation.rolling import RollingOptions, run_rolling
from recommender.evaluation.search import SearchOptions, Trial, run_search
from recommender.model_parameters import ModelParameters
from recommender.tuned_parameters import FILE, keep_tuned, read_tuned, tuned_parameters

DAY_MS = 86_400_000


def walks(path: Path, *, sessions: int = 60, timed: bool = True, turn: int = 1_000_000) -> Path:
    """Sessions of four around a ring of ten items; from session `turn` on they walk the other way, among new items."""
    rows = [
        (session, place, f"i{(session + place) % 10}" if session < turn else f"n{(session - place) % 10}")
        for session in range(sessions)
        for place in range(4)
    ]
    frame = pl.DataFrame(rows, schema=["session", "pos", "item"], orient="row")
    if timed:
        frame = frame.with_columns(ts_ms=1_400_000_000_000 + pl.int_range(pl.len()) * DAY_MS // 40)
    frame.write_parquet(path)
    return path


def test_the_newest_sessions_are_held_out_whole(tmp_path: Path) -> None:
    older, newer = split_newest(read_clicks(parse_spec(str(walks(tmp_path / "c.parquet")))), 0.1)

    assert newer.events["session"].unique().sort().to_list() == list(range(54, 60))
    assert older.events.height + newer.events.height == 240


def test_a_holdout_is_the_test(tmp_path: Path) -> None:
    file = walks(tmp_path / "c.parquet")

    report = run_evaluation(EvaluationOptions(train=str(file), holdout=0.1, model="transitions"))

    assert (report.sessions, report.targets) == (6, 18)
    assert report.to_json()["holdout"] == 0.1


def test_two_ways_to_test_at_once_are_refused(tmp_path: Path) -> None:
    file = str(walks(tmp_path / "c.parquet"))

    with pytest.raises(EvaluationInputError, match="--test and --holdout"):
        run_evaluation(EvaluationOptions(train=file, test=file, holdout=0.1))


@pytest.mark.parametrize("timed", [True, False])
def test_windows_follow_each_other_to_the_end(tmp_path: Path, timed: bool) -> None:
    file = walks(tmp_path / "c.parquet", timed=timed)

    report = run_rolling(RollingOptions(train=str(file), model="transitions", windows=3, history=0.5, k=3))

    assert [window.sessions for window in report.windows] == [10, 10, 10]
    assert all(window.figures["hr@3"] > 0.9 for window in report.windows)
    assert sorted(window.from_ms for window in report.windows) == [window.from_ms for window in report.windows]


def test_more_windows_than_sessions_are_refused(tmp_path: Path) -> None:
    file = walks(tmp_path / "c.parquet", sessions=4)

    with pytest.raises(EvaluationInputError, match="fewer windows"):
        run_rolling(RollingOptions(train=str(file), windows=50))


@pytest.mark.parametrize("timed", [True, False])
def test_what_turns_after_the_cut_is_learnt_by_events_soon_by_refits_later_and_by_a_frozen_model_never(
    tmp_path: Path, timed: bool
) -> None:
    file = walks(tmp_path / "c.parquet", timed=timed, turn=30)

    report = run_prequential_study(PrequentialOptions(train=str(file), model="transitions", days=3.0, k=3))

    hits = {way: figures["hr@3"] for way, figures in report.figures.items()}
    assert hits["frozen"] < 0.3
    assert hits["frozen"] < hits["refit"] < hits["per-event"]
    assert report.gains["per-event"]["hr@3"].low > 0
    assert report.new_hits["frozen"] == 0


def _search(file: Path, study: Path, trials: int, told: list[Trial] | None = None) -> Trial:
    options = SearchOptions(
        evaluation=EvaluationOptions(train=str(file), holdout=0.2, model="transitions", k=3), study=study, trials=trials
    )
    return run_search(options, lambda trial, _best: told.append(trial) if told is not None else None)


def test_a_study_broken_off_makes_the_trials_it_would_have_made(tmp_path: Path) -> None:
    file = walks(tmp_path / "c.parquet")
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    best = _search(file, whole, 6)

    _search(file, broken, 3)
    # The fourth was being written when the power went.
    broken.write_bytes(broken.read_bytes() + b'{"number": 3, "sco')
    again = _search(file, broken, 6)

    one, two = (map(msgspec.json.decode, path.read_bytes().splitlines()) for path in (whole, broken))
    assert [line.get("settings") for line in one] == [line.get("settings") for line in two]
    assert again.settings == best.settings


def test_a_study_that_is_complete_trains_nothing(tmp_path: Path) -> None:
    file, told = walks(tmp_path / "c.parquet"), list[Trial]()
    _search(file, tmp_path / "s.jsonl", 2)
    file.unlink()

    _search(file, tmp_path / "s.jsonl", 2, told)

    assert [trial.number for trial in told] == [0, 1]


def test_another_studys_file_is_refused(tmp_path: Path) -> None:
    file = walks(tmp_path / "c.parquet")
    _search(file, tmp_path / "s.jsonl", 1)

    with pytest.raises(EvaluationInputError, match="another file"):
        _search(walks(tmp_path / "other.parquet"), tmp_path / "s.jsonl", 1)


def test_what_was_found_is_kept_per_model_and_taken_up(tmp_path: Path) -> None:
    keep_tuned(tmp_path, "transitions", {"steps": 5}, found="one")
    keep_tuned(tmp_path, "ials", {"alpha": 30.0, "decay": 0.4}, found="two")

    parameters = tuned_parameters(ModelParameters(), read_tuned(tmp_path))

    assert parameters.transitions.steps == 5
    assert (parameters.ials.alpha, parameters.ials.decay) == (30.0, 0.4)
    assert parameters.session_knn == ModelParameters().session_knn


@pytest.mark.parametrize("text", ["{", '{"ials": {"wings": 2}}', '{"ials": {"factors": "many"}}'])
def test_settings_that_are_none_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(SnapshotRefusedError, match=FILE):
        read_tuned(tmp_path)


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["--holdout", "0.2", "--model", "transitions"], "hr@20"),
        (["compare", "--holdout", "0.2", "--model", "popularity", "--against", "transitions"], "gain"),
        (["rolling", "--model", "transitions", "--windows", "2"], "window"),
        (["prequential", "--model", "transitions", "--days", "2"], "per-event"),
    ],
)
def test_the_command_line_tells_a_table_and_writes_json_and_plots(
    tmp_path: Path, command: list[str], wanted: str
) -> None:
    file = walks(tmp_path / "c.parquet")
    outs = ["--train", str(file), "--json", str(tmp_path / "r.json"), "--plots", str(tmp_path / "plots")]

    result = CliRunner().invoke(app, ["evaluate", *command, *outs])

    assert result.exit_code == 0, result.output
    assert wanted in result.output
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes())["k"] == 20
    assert len(list((tmp_path / "plots").glob("*.png"))) == 1


def test_the_command_line_searches_and_keeps(tmp_path: Path) -> None:
    file = walks(tmp_path / "c.parquet")
    command = [
        "evaluate",
        "search",
        "--train",
        str(file),
        "--holdout",
        "0.2",
        "--model",
        "transitions",
        "--trials",
        "2",
    ]

    result = CliRunner().invoke(
        app, [*command, "--trials", "2", "--study", str(tmp_path / "s.jsonl"), "--keep", str(tmp_path / "shop")]
    )

    assert result.exit_code == 0, result.output
    assert read_tuned(tmp_path / "shop" / "model").transitions.keys() >= {"steps", "decay"}


def test_without_a_file_the_command_line_says_what_it_wants() -> None:
    result = CliRunner().invoke(app, ["evaluate"])

    assert result.exit_code == 2
