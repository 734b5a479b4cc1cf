"""Read files of clicks and of (prefix, label) pairs into one shape, whatever their ids and times."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from feature_store.kinds import KIND_OF_EVENT, Kind
from recommender.errors import EvaluationInputError
from recommender.evaluation.archived_clicks import archived_clicks

READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
}

KIND_OF_NAME = {
    **{name: int(kind) for name, kind in KIND_OF_EVENT.items()},
    **dict.fromkeys(("cart", "carts", "addtocart"), int(Kind.ADD_TO_CART)),
    **dict.fromkeys(("order", "orders", "transaction", "buy", "buys"), int(Kind.PURCHASE)),
}
"""What publishers call their events; any other name counts as a view."""


class Spec(NamedTuple):
    """A file and the values of its column `split` that are wanted; none named: all rows."""

    path: Path
    splits: tuple[str, ...]


class Clicks(NamedTuple):
    """Cleaned clicks.

    Attributes:
        events: in the order they happened; columns `row` (of the file), `session` (as in the file), `item` (text),
            `kind` (u8), `time_ms` (i64), `place` (0-based within the session).
        timed: every row had a time; else `time_ms` is 0 throughout.
        item_dtype, session_dtype: as in the file.
    """

    events: pl.DataFrame
    timed: bool
    item_dtype: pl.DataType
    session_dtype: pl.DataType


def parse_spec(text: str) -> Spec:
    """`FILE`, `FILE:SPLIT` or `FILE:SPLIT+SPLIT`; a file whose own name has a colon is taken as it is."""
    if Path(text).exists():
        return Spec(Path(text), ())
    path, colon, splits = text.rpartition(":")
    if not colon or "/" in splits or not splits:
        return Spec(Path(text), ())
    return Spec(Path(path), tuple(splits.split("+")))


def read_clicks(spec: Spec, *, keep_repeats: bool = False) -> Clicks:
    """Read, pick the splits, order, and collapse consecutive repeats within a session unless `keep_repeats`.

    Events of a session are ordered by `ts_ms`, then `pos`, then row; where any row of the pick lacks its time, by
    `pos`, then row, the sessions one after another as they first appear. Rows without session or item are left out.

    Raises:
        EvaluationInputError: no such file, unreadable, a column or a split is missing, or nothing is left.
    """
    frame = _pick(_read(spec.path), spec)
    session = "session" if "session" in frame.columns else "visitor"
    _require(frame, spec.path, ("item", session), hint="a column `visitor` serves where `session` is missing")
    clicks = frame.with_row_index("row").filter(pl.col("item").is_not_null() & pl.col(session).is_not_null())
    if clicks.is_empty():
        raise EvaluationInputError(
            wanted="at least one row with session and item", got=f"none in {_name(spec)}", next_step="check the file"
        )
    ordered, timed = _in_order(clicks, session)
    events = ordered.select(
        "row",
        pl.col(session).alias("session"),
        _text(ordered, "item"),
        _kind(ordered),
        pl.col("time_ms"),
    )
    if not keep_repeats:
        events = events.filter(pl.col("item").ne_missing(pl.col("item").shift().over("session")))
    events = events.with_columns(place=pl.int_range(pl.len()).over("session"))
    return Clicks(events, timed, frame.schema["item"], frame.schema[session])


def split_newest(clicks: Clicks, share: float) -> tuple[Clicks, Clicks]:
    """The older sessions, and the newest `share` of them by their first event; no session is cut in two.

    Raises:
        EvaluationInputError: one of the two would be empty.
    """
    sessions = clicks.events["session"].unique(maintain_order=True)
    newest = round(len(sessions) * share)
    if not 0 < newest < len(sessions):
        raise EvaluationInputError(
            wanted="sessions on both sides of the cut",
            got=f"{newest} of {len(sessions)} to hold out",
            next_step="take another share, or a larger file",
        )
    held = pl.col("session").is_in(sessions[-newest:].implode())
    return (
        clicks._replace(events=clicks.events.filter(~held)),
        clicks._replace(events=clicks.events.filter(held)),
    )


def read_pairs(path: Path) -> pl.DataFrame:
    """Columns `prefix` (list of text, oldest first) and `label` (text), in file order.

    Raises:
        EvaluationInputError: no such file, unreadable, a column is missing or not of that form.
    """
    frame = _read(path)
    _require(frame, path, ("prefix", "label"), hint="one row a target: the list `prefix` of items, and `label`")
    if not isinstance(frame.schema["prefix"], pl.List | pl.Array):
        raise EvaluationInputError(
            wanted=f"a list of item ids in column `prefix` of {path.name}",
            got=str(frame.schema["prefix"]),
            next_step="write the prefixes as lists, oldest item first",
        )
    if frame["label"].null_count():
        raise EvaluationInputError(
            wanted=f"a label in every row of {path.name}",
            got=f"{frame['label'].null_count()} rows without",
            next_step="leave those rows out",
        )
    prefixes = frame["prefix"].cast(pl.List(frame.schema["prefix"].inner)).list.drop_nulls()
    return pl.DataFrame({"prefix": prefixes.cast(pl.List(pl.String)), "label": frame["label"].cast(pl.String)})


def _read(path: Path) -> pl.DataFrame:
    if path.is_dir():
        return archived_clicks(path)
    if not path.is_file():
        raise EvaluationInputError(
            wanted="a file of clicks, `FILE` or `FILE:SPLIT`, or an archive's folder",
            got=f"{path}, which is no file",
            next_step="check the path; a split is named after the last colon",
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise EvaluationInputError(
            wanted=f"a file named {', '.join('*' + suffix for suffix in READERS)}",
            got=path.name,
            next_step="convert it, or give it the ending of its form",
        )
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise EvaluationInputError(
            wanted=f"{path.name} to be readable as {path.suffix[1:]}", got=str(error), next_step="check the file"
        ) from error


def _pick(frame: pl.DataFrame, spec: Spec) -> pl.DataFrame:
    if not spec.splits:
        return frame
    _require(frame, spec.path, ("split",), hint="leave `:SPLIT` away to take every row")
    there = frame["split"].cast(pl.String).drop_nulls().unique().sort().to_list()
    missing = [split for split in spec.splits if split not in there]
    if missing:
        raise EvaluationInputError(
            wanted=f"rows of split {', '.join(missing)} in {spec.path.name}",
            got=f"splits {', '.join(there) or 'none'}",
            next_step="name one of those, or several joined by `+`",
        )
    return frame.with_columns(pl.col("split").cast(pl.String)).filter(pl.col("split").is_in(spec.splits))


def _require(frame: pl.DataFrame, path: Path, columns: tuple[str, ...], *, hint: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise EvaluationInputError(
            wanted=f"column {', '.join(f'`{column}`' for column in missing)} in {path.name}",
            got=f"columns {', '.join(frame.columns)}",
            next_step=hint,
        )


def _in_order(clicks: pl.DataFrame, session: str) -> tuple[pl.DataFrame, bool]:
    timed = "ts_ms" in clicks.columns and clicks["ts_ms"].null_count() == 0
    within = ["pos", "row"] if "pos" in clicks.columns else ["row"]
    if timed:
        time_ms = pl.col("ts_ms").dt.epoch("ms") if clicks.schema["ts_ms"].is_temporal() else pl.col("ts_ms")
        return clicks.with_columns(time_ms=time_ms.cast(pl.Int64)).sort("time_ms", *within, maintain_order=True), True
    first_row = pl.col("row").min().over(session).alias("first_row")
    untimed = clicks.with_columns(first_row, time_ms=pl.lit(0, pl.Int64))
    return untimed.sort("first_row", *within, maintain_order=True, nulls_last=True), False


def _text(frame: pl.DataFrame, column: str) -> pl.Expr:
    # Ids that went through a float column on their way (1.0) are the integers they were.
    values = frame[column]
    whole = values.dtype.is_float() and bool((values == values.round()).all())
    expression = pl.col(column).cast(pl.Int64) if whole else pl.col(column)
    return expression.cast(pl.String)


def _kind(frame: pl.DataFrame) -> pl.Expr:
    if "event" not in frame.columns:
        return pl.lit(int(Kind.VIEW), pl.UInt8).alias("kind")
    name = pl.col("event").cast(pl.String)
    kind = name.replace_strict(KIND_OF_NAME, default=int(Kind.VIEW), return_dtype=pl.UInt8)
    return kind.fill_null(int(Kind.VIEW)).alias("kind")


def _name(spec: Spec) -> str:
    return f"{spec.path.name}:{'+'.join(spec.splits)}" if spec.splits else spec.path.name
