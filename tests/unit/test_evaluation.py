"""`run_evaluation` on files of every shape: what counts as a target, what a list holds, what an error says."""

import json
from pathlib import Path

import polars as pl
import pytest

from recommender.errors import EvaluationInputError
from recommender.evaluation import EvaluationOptions, parse_spec, run_evaluation, write_report
from recommender.evaluation.builders import MODEL_NAMES, ModelParameters
from recommender.models.ials import IalsParameters

QUICK = ModelParameters(ials=IalsParameters(factors=8, iterations=3))


def chain_file(path: Path, *, sessions: int = 60, **columns: pl.Series) -> Path:
    """Sessions of four that walk a ring of ten items; every item is followed by the next."""
    rows = [(session, place, (session + place) % 10) for session in range(sessions) for place in range(4)]
    frame = pl.DataFrame(rows, schema=["session", "pos", "item"], orient="row")
    frame = frame.with_columns(ts_ms=1_400_000_000_000 + pl.int_range(pl.len()) * 1000, event=pl.lit("view"))
    frame.with_columns(**columns).write_parquet(path)
    return path


def evaluate(train: Path | str, test: Path | str, **options: object) -> dict[str, object]:
    options = {"parameters": QUICK, **options}
    return run_evaluation(EvaluationOptions(train=str(train), test=str(test), **options)).to_json()  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["transitions", "session-knn", "blend"])
def test_a_regular_walk_is_predicted(tmp_path: Path, model: str) -> None:
    clicks = chain_file(tmp_path / "clicks.parquet")

    report = evaluate(clicks, clicks, model=model, k=3)

    assert report["targets"] == 180
    assert report["hr@3"] > 0.9
    assert set(report) >= {"hr@3", "mrr@3", "ndcg@3", "coverage", "standard_errors", "seconds", "model", "parameters"}


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_model_ranks_every_target_and_twice_alike(tmp_path: Path, model: str) -> None:
    clicks = chain_file(tmp_path / "clicks.parquet")

    evaluate(clicks, clicks, model=model, k=5, lists_out=str(tmp_path / "one.parquet"))
    evaluate(clicks, clicks, model=model, k=5, lists_out=str(tmp_path / "two.parquet"), threads=1)

    one, two = pl.read_parquet(tmp_path / "one.parquet"), pl.read_parquet(tmp_path / "two.parquet")
    assert one.equals(two)
    assert (one["items"].list.len() == 5).all()
    assert one.select(pl.col("items").list.n_unique().min()).item() == 5


def test_the_lists_let_anyone_recompute_the_figures(tmp_path: Path) -> None:
    clicks = chain_file(tmp_path / "clicks.parquet")

    report = evaluate(clicks, clicks, model="ials", k=4, lists_out=str(tmp_path / "lists.parquet"))

    ranks = [
        items.index(label) + 1 if label in items else 0
        for label, items in pl.read_parquet(tmp_path / "lists.parquet").select("label", "items").iter_rows()
    ]
    assert report["hr@4"] == pytest.approx(sum(rank > 0 for rank in ranks) / len(ranks))
    assert report["mrr@4"] == pytest.approx(sum(1 / rank for rank in ranks if rank) / len(ranks))


def test_targets_stand_in_file_order_with_their_place_in_the_session(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "session": ["b", "a", "b", "a", "a", "b", "lone"],
            "item": ["x", "y", "x", "z", "x", "y", "x"],
            "ts_ms": [1, 2, 3, 4, 5, 6, 7],
        }
    )
    frame.write_parquet(tmp_path / "clicks.parquet")

    evaluate(*[tmp_path / "clicks.parquet"] * 2, model="popularity", lists_out=str(tmp_path / "lists.parquet"))

    lists = pl.read_parquet(tmp_path / "lists.parquet")
    assert lists.select("session", "position", "label").rows() == [("a", 1, "z"), ("a", 2, "x"), ("b", 1, "y")]
    assert all(current not in items for current, items in zip("yzx", lists["items"].to_list(), strict=True))


def test_repeats_are_kept_when_asked(tmp_path: Path) -> None:
    frame = pl.DataFrame({"session": [1] * 4, "item": [7, 7, 8, 8], "ts_ms": [1, 2, 3, 4]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    files = [tmp_path / "clicks.parquet"] * 2

    assert evaluate(*files)["targets"] == 1
    assert evaluate(*files, keep_repeats=True)["targets"] == 3


def test_without_times_the_order_is_that_of_pos(tmp_path: Path) -> None:
    train = pl.DataFrame({"session": [1, 1, 1, 2, 2, 2], "pos": [2, 0, 1] * 2, "item": ["c", "a", "b"] * 2})
    train.with_columns(ts_ms=pl.lit(None, pl.Int64)).write_parquet(tmp_path / "clicks.parquet")

    evaluate(*[tmp_path / "clicks.parquet"] * 2, model="transitions", k=1, lists_out=str(tmp_path / "lists.parquet"))

    lists = pl.read_parquet(tmp_path / "lists.parquet").sort("session", "position")
    assert lists["label"].to_list() == ["b", "c"] * 2
    assert lists["items"].to_list() == [["b"], ["c"]] * 2


def test_ids_keep_their_type_and_their_letters(tmp_path: Path) -> None:
    texts = pl.DataFrame({"session": ["ş1", "ş1", "ş1"], "item": ["çay", "日本", "007"], "ts_ms": [1, 2, 3]})
    texts.write_parquet(tmp_path / "texts.parquet")
    numbers = pl.DataFrame({"session": [1, 1, 1], "item": pl.Series([5, 2**62, 6], dtype=pl.Int64)})
    numbers.write_parquet(tmp_path / "numbers.parquet")

    for name in ("texts", "numbers"):
        evaluate(*[tmp_path / f"{name}.parquet"] * 2, lists_out=str(tmp_path / f"{name}-lists.parquet"))

    assert pl.read_parquet(tmp_path / "texts-lists.parquet")["label"].to_list() == ["日本", "007"]
    lists = pl.read_parquet(tmp_path / "numbers-lists.parquet")
    assert lists.schema["items"] == pl.List(pl.Int64)
    assert lists["label"].to_list() == [2**62, 6]


def test_items_nobody_knows_are_counted_as_misses(tmp_path: Path) -> None:
    train = chain_file(tmp_path / "train.parquet")
    test = pl.DataFrame({"session": [1, 1, 1], "item": [901, 902, 903], "ts_ms": [1, 2, 3]})
    test.write_parquet(tmp_path / "test.parquet")

    report = evaluate(train, tmp_path / "test.parquet", lists_out=str(tmp_path / "lists.parquet"))

    assert (report["targets"], report["targets_unknown"], report["hr@20"]) == (2, 2, 0.0)
    assert pl.read_parquet(tmp_path / "lists.parquet")["label"].to_list() == [902, 903]


def test_sessions_of_one_event_leave_nothing_to_measure(tmp_path: Path) -> None:
    train = chain_file(tmp_path / "train.parquet")
    pl.DataFrame({"session": [1, 2], "item": [1, 2], "ts_ms": [1, 2]}).write_parquet(tmp_path / "test.parquet")

    report = evaluate(train, tmp_path / "test.parquet", lists_out=str(tmp_path / "lists.parquet"))

    assert (report["targets"], report["hr@20"]) == (0, 0.0)
    assert len(pl.read_parquet(tmp_path / "lists.parquet")) == 0


def test_pairs_leave_nothing_out(tmp_path: Path) -> None:
    pl.DataFrame({"session": [1] * 6, "item": [1, 1, 1, 2, 2, 2]}).write_parquet(tmp_path / "train.parquet")
    pairs = pl.DataFrame({"prefix": [[1], [1, 2], []], "label": [1, 9, 2]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    options = EvaluationOptions(
        train=str(tmp_path / "train.parquet"),
        pairs=str(tmp_path / "pairs.parquet"),
        model="transitions",
        k=2,
        keep_repeats=True,
        lists_out=str(tmp_path / "lists.parquet"),
    )

    report = run_evaluation(options)

    lists = pl.read_parquet(tmp_path / "lists.parquet")
    assert lists.select("session", "position", "label").rows() == [(0, 1, 1), (1, 2, 9), (2, 0, 2)]
    assert sorted(lists["items"][0].to_list()) == [1, 2]
    assert report.figures["hr@2"] == pytest.approx(2 / 3)


def test_splits_are_picked_and_joined(tmp_path: Path) -> None:
    parts = pl.Series(["train"] * 120 + ["valid"] * 60 + ["test"] * 60)
    clicks = chain_file(tmp_path / "clicks.parquet", split=parts)

    one = evaluate(f"{clicks}:train", f"{clicks}:test")
    both = evaluate(f"{clicks}:train+valid", f"{clicks}:valid+test")

    assert (one["targets"], both["targets"]) == (45, 90)


@pytest.mark.parametrize(
    ("spec", "splits"), [("a.parquet", ()), ("a.parquet:x", ("x",)), ("a.parquet:x+y", ("x", "y")), ("a:b/c.csv", ())]
)
def test_specs_are_read(spec: str, splits: tuple[str, ...]) -> None:
    assert parse_spec(spec).splits == splits


def test_a_file_with_a_colon_in_its_name_is_taken_whole(tmp_path: Path) -> None:
    odd = chain_file(tmp_path / "a:b.parquet")

    assert parse_spec(str(odd)) == (odd, ())


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_other_forms_are_read_too(tmp_path: Path, ending: str) -> None:
    frame = pl.read_parquet(chain_file(tmp_path / "clicks.parquet"))
    frame.write_csv(tmp_path / "clicks.csv") if ending == "csv" else frame.write_ndjson(tmp_path / "clicks.jsonl")

    assert evaluate(*[tmp_path / f"clicks.{ending}"] * 2)["targets"] == 180


def test_the_report_is_json_with_every_setting(tmp_path: Path) -> None:
    clicks = chain_file(tmp_path / "clicks.parquet")

    write_report(
        run_evaluation(EvaluationOptions(train=str(clicks), test=str(clicks), parameters=QUICK)),
        tmp_path / "out" / "report.json",
    )

    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert report["parameters"]["ials"]["factors"] == 8
    assert report["standard_errors"].keys() >= {"hr@20", "mrr@20", "ndcg@20", "recall@20", "map@20", "novelty@20"}


@pytest.mark.parametrize(
    ("train", "test", "options", "told"),
    [
        ("nowhere.parquet", "clicks.parquet", {}, ("nowhere.parquet", "check the path")),
        ("clicks.parquet:dev", "clicks.parquet", {}, ("dev", "test, train", "name one of those")),
        ("clicks.parquet", "thin.parquet", {}, ("`item`", "columns session")),
        ("thin.parquet:train", "clicks.parquet", {}, ("`split`", "leave `:SPLIT` away")),
        ("empty.parquet", "clicks.parquet", {}, ("at least one row", "none in empty.parquet")),
        ("broken.parquet", "clicks.parquet", {}, ("readable as parquet",)),
        ("notes.txt", "clicks.parquet", {}, ("*.parquet", "notes.txt")),
        ("clicks.parquet", "clicks.parquet", {"model": "magic"}, ("popularity", "'magic'")),
        (
            "clicks.parquet",
            "clicks.parquet",
            {"pairs": "p.parquet"},
            ("one of --test, --pairs and --holdout", "--test and --pairs"),
        ),
    ],
)
def test_errors_say_wanted_got_and_next(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: str,
    test: str,
    options: dict[str, str],
    told: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    chain_file(tmp_path / "clicks.parquet", split=pl.Series(["train"] * 120 + ["test"] * 120))
    pl.DataFrame({"session": [1]}).write_parquet(tmp_path / "thin.parquet")
    pl.DataFrame({"session": [1], "item": [None]}).write_parquet(tmp_path / "empty.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(EvaluationInputError) as raised:
        evaluate(train, test, **options)

    assert all(part in str(raised.value) for part in told), raised.value
    assert raised.value.next_step


def test_pairs_ask_for_repeats_unless_told_otherwise() -> None:
    pairs, test = (EvaluationOptions(train="a", **{name: "b"}) for name in ("pairs", "test"))

    assert (pairs.repeats, test.repeats) == (True, False)
    assert not EvaluationOptions(train="a", pairs="b", keep_repeats=False).repeats
    assert EvaluationOptions(train="a", test="b", keep_repeats=True).repeats
