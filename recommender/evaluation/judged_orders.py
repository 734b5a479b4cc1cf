"""Orders that logged answers are judged by: the model's own, turned round, all alike, a pin, or one from a file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recommender.errors import EvaluationInputError, NoSupportError
from recommender.evaluation.logged_answers import AnswersRead, LoggedAnswer
from recommender.evaluation.off_policy import SHOWN_MIN, LoggedSlots, OffPolicy, estimate, reward_model

Order = Callable[[LoggedAnswer], NDArray[np.float64] | None]
"""Shape (slots, slots): how likely each of the model's own places (row) is put into each slot left to chance; None
where it says nothing of this answer."""


class OffPolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """`answers_total`: all; `answers_explored`: with slots left to chance; `answers_judged`: of which `what` speaks."""

    what: str
    outcome: OffPolicy
    answers_total: int
    answers_explored: int
    answers_judged: int

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told


def ranked_order(answer: LoggedAnswer) -> NDArray[np.float64]:
    """The model's own, as every other answer has it."""
    return np.eye(_slots(answer))


def reversed_order(answer: LoggedAnswer) -> NDArray[np.float64]:
    """Its contrary: if that earns as much, the order of these slots is not worth anything."""
    return np.eye(_slots(answer))[::-1]


def uniform_order(answer: LoggedAnswer) -> NDArray[np.float64]:
    """Every order as likely as any other."""
    slots = _slots(answer)
    return np.full((slots, slots), 1.0 / slots)


ORDERS: Mapping[str, Order] = {"ranked": ranked_order, "reversed": reversed_order, "uniform": uniform_order}


def file_order(path: Path) -> Order:
    """From a file with `recommendation_id` and the list `items`: another model's order of the same items.

    Items that were not among the slots left to chance are passed over; those that the list lacks come last.

    Raises:
        EvaluationInputError: no such file, or without these columns.
    """
    try:
        frame = pl.read_parquet(path, columns=["recommendation_id", "items"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EvaluationInputError(
            wanted=f"Parquet with `recommendation_id` and the list `items` in {path}",
            got=str(error).splitlines()[0],
            next_step="write one row an answer, items best first",
        ) from error
    lists = dict(frame.with_columns(pl.col("items").cast(pl.List(pl.String))).iter_rows())

    def order(answer: LoggedAnswer) -> NDArray[np.float64] | None:
        wanted = lists.get(answer.recommendation_id)
        if wanted is None:
            return None
        places = {item_id: place for place, item_id in enumerate(wanted)}
        by_rank = _by_rank(answer)
        ranks = sorted(range(len(by_rank)), key=lambda rank: (places.get(by_rank[rank], len(places)), rank))
        chances = np.zeros((len(ranks), len(ranks)))
        chances[ranks, np.arange(len(ranks))] = 1.0
        return chances

    return order


def judge_order(
    answers: AnswersRead, clicks: Collection[tuple[str, str]], order: Order, *, what: str, shown_min: int = SHOWN_MIN
) -> OffPolicyReport:
    """Clicks an answer on the slots left to chance, had `order` ordered them.

    Raises:
        NoSupportError: too little of it was ever shown.
    """
    shows: list[_Show] = []
    judged = 0
    for answer in answers.explored:
        chances = order(answer)
        if chances is None:
            continue
        shows += _shows(answer, judged, clicks, chances)
        judged += 1
    if not shows:
        raise NoSupportError(f"{what}: shown 0 times in {len(answers.explored):,} answers with slots left to chance")
    outcome = estimate(_with_expectations(shows), what=what, shown_min=shown_min)
    return OffPolicyReport(
        what=what,
        outcome=outcome,
        answers_total=answers.total,
        answers_explored=len(answers.explored),
        answers_judged=judged,
    )


def judge_pin(
    answers: AnswersRead,
    clicks: Collection[tuple[str, str]],
    item_id: str,
    slot: int,
    *,
    shown_min: int = SHOWN_MIN,
) -> OffPolicyReport:
    """Clicks an answer on one slot (1 is the answer's first), had `item_id` always stood in it.

    Only over answers in which chance could have put it there: of others the log cannot speak.

    Raises:
        NoSupportError: it was never or hardly ever shown there.
    """
    what = f"item {item_id} in slot {slot}"
    could = [
        (answer, place)
        for answer in answers.explored
        if (place := _place(answer, slot)) is not None and item_id in _by_rank(answer)
    ]
    shown = sum(answer.item_ids[slot - 1] == item_id for answer, _ in could)
    if shown < shown_min:
        raise NoSupportError(
            f"{what}: shown {shown:,} times in {len(answers.explored):,}, of at least {shown_min:,} wanted; "
            "chance can only put an item where answers already have it"
        )
    shows: list[_Show] = []
    for number, (answer, place) in enumerate(could):
        rank = _by_rank(answer).index(item_id)
        chances = np.zeros((_slots(answer), _slots(answer)))
        chances[rank, place] = 1.0
        shows.append(_shows(answer, number, clicks, chances)[place]._replace(slot=0))
    outcome = estimate(_with_expectations(shows), what=what, shown_min=shown_min)
    return OffPolicyReport(
        what=what,
        outcome=outcome,
        answers_total=answers.total,
        answers_explored=len(answers.explored),
        answers_judged=len(could),
    )


class _Show(NamedTuple):
    """One slot of one answer. `column`: by the model's own place, how likely the order judged puts it here."""

    answer: int
    visitor: str
    slot: int
    place: int
    propensity: float
    reward: float
    column: NDArray[np.float64]


def _shows(
    answer: LoggedAnswer, number: int, clicks: Collection[tuple[str, str]], chances: NDArray[np.float64]
) -> list[_Show]:
    assert answer.exploration is not None, "only explored answers are judged"
    return [
        _Show(
            number,
            answer.visitor_key,
            place,
            rank,
            answer.propensities[slot] or 0.0,
            float((answer.recommendation_id, answer.item_ids[slot]) in clicks),
            chances[:, place],
        )
        for place, (slot, rank) in enumerate(zip(answer.exploration.slots, answer.exploration.ranks, strict=True))
    ]


def _with_expectations(shows: Sequence[_Show]) -> LoggedSlots:
    numbers: dict[str, int] = {}
    visitors = np.array([numbers.setdefault(show.visitor, len(numbers)) for show in shows], np.int64)
    places = np.array([show.place for show in shows], np.int64)
    slots = np.array([show.slot for show in shows], np.int64)
    rewards = np.array([show.reward for show in shows])
    deepest = max(max(len(show.column) for show in shows), int(places.max()) + 1)
    columns = np.zeros((len(shows), deepest))
    for show, column in zip(shows, columns, strict=True):
        column[: len(show.column)] = show.column
    model = reward_model(places, slots, rewards, visitors)
    # Places that nobody was shown expect what their slot does on average.
    padded = np.zeros((2, deepest, model.shape[2]))
    padded[:] = model.mean(axis=1, keepdims=True)
    padded[:, : model.shape[1]] = model
    return LoggedSlots(
        answers=np.array([show.answer for show in shows], np.int64),
        visitors=visitors,
        slots=slots,
        propensities=np.array([show.propensity for show in shows]),
        rewards=rewards,
        chances=columns[np.arange(len(shows)), places],
        expected=padded[visitors % 2, places, slots],
        expected_after=(columns * padded[visitors % 2, :, slots]).sum(axis=1),
    )


def _slots(answer: LoggedAnswer) -> int:
    return len(answer.exploration.ranks) if answer.exploration is not None else 0


def _place(answer: LoggedAnswer, slot: int) -> int | None:
    """Of the slot (1 is the answer's first) among those left to chance, from 0; None where it is none of them."""
    slots = answer.exploration.slots if answer.exploration is not None else ()
    return slots.index(slot - 1) if slot - 1 in slots else None


def _by_rank(answer: LoggedAnswer) -> list[str]:
    """The items of the slots left to chance, in the model's own order."""
    assert answer.exploration is not None, "only explored answers are judged"
    by_rank = [""] * len(answer.exploration.ranks)
    for slot, rank in zip(answer.exploration.slots, answer.exploration.ranks, strict=True):
        by_rank[rank] = answer.item_ids[slot]
    return by_rank
