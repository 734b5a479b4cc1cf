"""Estimates of other orders, on logs made with a known truth; and what the log cannot tell is refused."""

import msgspec
import numpy as np
import polars as pl
import pytest

from api.answers import ServedAnswer
from recommender.errors import EvaluationInputError, NoSupportError
from recommender.evaluation.judged_orders import (
    ORDERS,
    file_order,
    judge_order,
    judge_pin,
    ranked_order,
    reversed_order,
)
from recommender.evaluation.logged_answers import AnswersRead, LoggedAnswer
from recommender.evaluation.off_policy import LoggedSlots, estimate, reward_model, sample_size
from recommender.requests import Exploration
from recommender.slot_exploration import slot_chances

SLOTS = 4
ANSWERS = 1_500
CHANCES = slot_chances(SLOTS, 2.0)
# A better place of the model is clicked more often, a higher slot is seen more often; visitors differ.
LIKES = np.array([0.30, 0.22, 0.12, 0.10])
SEES = np.array([0.9, 0.7, 0.5, 0.4])


def _log(random: np.random.Generator, after: np.ndarray) -> tuple[LoggedSlots, float]:
    """One month of explored answers, and what the order `after` truly earns an answer."""
    noise = -np.arange(SLOTS) / 2.0 + random.gumbel(size=(ANSWERS, SLOTS))
    ranks = np.argsort(-noise, axis=1)
    slot = np.broadcast_to(np.arange(SLOTS), ranks.shape)
    visitors = random.integers(0, ANSWERS // 2, ANSWERS)
    keen = random.beta(4, 4, ANSWERS // 2) * 2
    clicked = random.random(ranks.shape) < LIKES[ranks] * SEES[slot] * keen[visitors][:, None]
    rewards = clicked.astype(float).ravel()
    places, slots = ranks.ravel(), slot.ravel()
    owner = np.repeat(visitors, SLOTS)
    model = reward_model(places, slots, rewards, owner)
    logged = LoggedSlots(
        answers=np.repeat(np.arange(ANSWERS), SLOTS),
        visitors=owner,
        slots=slots,
        propensities=CHANCES[places, slots],
        rewards=rewards,
        chances=after[places, slots],
        expected=model[owner % 2, places, slots],
        expected_after=(after[:, slots].T * model[owner % 2, :, slots]).sum(axis=1),
    )
    return logged, float((after * LIKES[:, None] * SEES[None, :]).sum())


@pytest.mark.parametrize("order", [np.eye(SLOTS), np.eye(SLOTS)[::-1]], ids=["ranked", "reversed"])
def test_the_interval_covers_the_truth_as_often_as_it_says(order: np.ndarray) -> None:
    random = np.random.default_rng(7)
    covered = np.zeros(3)
    runs = 1_000

    for _ in range(runs):
        logged, truth = _log(random, order)
        found = estimate(logged)
        for at, each in enumerate((found.ips, found.snips, found.doubly_robust)):
            covered[at] += each.low <= truth <= each.high

    assert (0.93 * runs <= covered).all(), covered
    assert (covered <= 0.97 * runs).all(), covered


def test_the_doubly_robust_estimate_is_narrower_and_all_three_agree() -> None:
    logged, truth = _log(np.random.default_rng(1), np.eye(SLOTS))

    found = estimate(logged)

    assert found.doubly_robust.standard_error < found.ips.standard_error
    assert found.snips.standard_error < found.ips.standard_error
    for each in (found.ips, found.snips, found.doubly_robust):
        assert each.value == pytest.approx(truth, abs=4 * each.standard_error)
    assert found.effective_sample_size < found.slots_shown < ANSWERS * SLOTS


def test_judged_by_its_own_chances_a_log_earns_what_it_earned() -> None:
    logged, _ = _log(np.random.default_rng(2), CHANCES)

    found = estimate(logged)

    assert found.ips == found.logged
    assert found.effective_sample_size == pytest.approx(ANSWERS * SLOTS)


def test_equal_weights_count_in_full_and_one_heavy_one_counts_as_one() -> None:
    assert sample_size(np.full(10, 3.0)) == pytest.approx(10.0)
    assert sample_size(np.array([1000.0, 1e-3, 1e-3])) == pytest.approx(1.0, abs=1e-3)
    assert sample_size(np.zeros(3)) == 0.0


def test_a_few_heavy_shows_are_refused() -> None:
    logged, _ = _log(np.random.default_rng(3), np.eye(SLOTS))
    shows = np.flatnonzero(logged.chances > 0)
    propensities = logged.propensities.copy()
    propensities[shows[:3]] = 1e-6

    with pytest.raises(NoSupportError, match="count as 3"):
        estimate(logged._replace(propensities=propensities))


def _answers(count: int, *, items: tuple[str, ...] = ("a", "b", "c", "d", "e", "f", "g", "h")) -> AnswersRead:
    random = np.random.default_rng(5)
    explored = []
    for number in range(count):
        ranks = tuple(np.argsort(np.arange(4) / 2.0 - random.gumbel(size=4)).tolist())
        shown = (*items[:4], *(items[4 + rank] for rank in ranks))
        propensities = (*[None] * 4, *(float(CHANCES[rank, slot]) for slot, rank in enumerate(ranks)))
        visitor, drawn = f"{number % 300:032x}", Exploration((4, 5, 6, 7), ranks)
        explored.append(LoggedAnswer(f"r{number}", visitor, "home", number, shown, propensities, drawn))
    return AnswersRead(explored, count * 20, 0)


def _clicks(answers: AnswersRead, liked: str) -> set[tuple[str, str]]:
    """Whoever is shown `liked` in one of the first two slots left to chance clicks on it."""
    return {(each.recommendation_id, liked) for each in answers.explored if liked in each.item_ids[4:6]}


def test_an_order_is_judged_by_the_clicks_on_what_it_would_have_shown() -> None:
    answers = _answers(4_000)
    clicks = _clicks(answers, "h")

    # The model has "h" last, where nobody clicks; turned round it comes first, where everybody does.
    ranked = judge_order(answers, clicks, ranked_order, what="ranked").outcome
    turned = judge_order(answers, clicks, reversed_order, what="reversed").outcome

    assert ranked.ips.value == pytest.approx(0.0, abs=0.01)
    assert turned.snips.value == pytest.approx(1.0, abs=0.02)
    assert turned.doubly_robust.low > ranked.doubly_robust.high


def test_a_pin_is_judged_in_its_slot() -> None:
    answers = _answers(4_000)

    report = judge_pin(answers, _clicks(answers, "h"), "h", 5)

    assert report.outcome.snips.value == pytest.approx(1.0)
    assert report.outcome.ips.low < 1.0 < report.outcome.ips.high
    assert report.answers_judged == 4_000
    assert judge_pin(answers, _clicks(answers, "h"), "h", 8).outcome.ips.value == 0.0


def test_a_pin_that_was_never_shown_is_refused_with_the_counts() -> None:
    answers = _answers(2_000)

    with pytest.raises(NoSupportError, match=r"item z in slot 5: shown 0 times in 2,000"):
        judge_pin(answers, set(), "z", 5)
    # In every answer, and yet never where chance could have moved it.
    with pytest.raises(NoSupportError, match=r"item a in slot 5: shown 0 times"):
        judge_pin(answers, set(), "a", 5)
    with pytest.raises(NoSupportError, match=r"item h in slot 1: shown 0 times"):
        judge_pin(answers, set(), "h", 1)


def test_a_pin_that_was_hardly_shown_is_refused_with_the_counts() -> None:
    few = _answers(12)
    many = _answers(2_000, items=("a", "b", "c", "d", "e", "f", "g", "x"))
    answers = AnswersRead([*few.explored, *many.explored], 41_000, 0)
    shown = sum(each.item_ids[4] == "h" for each in few.explored)

    with pytest.raises(NoSupportError, match=rf"shown {shown} times in 2,012"):
        judge_pin(answers, set(), "h", 5)


def test_an_order_from_a_file_is_the_one_that_stands_in_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    answers = _answers(3_000)
    ids = [each.recommendation_id for each in answers.explored]
    pl.DataFrame({"recommendation_id": ids, "items": [["h", "nobody", "f"]] * len(ids)}).write_parquet(
        tmp_path / "orders.parquet"
    )
    order = file_order(tmp_path / "orders.parquet")

    chances = order(answers.explored[0])
    assert chances is not None
    # By the model's own place: "e" 0, "f" 1, "g" 2, "h" 3.
    assert chances.argmax(axis=1).tolist() == [2, 1, 3, 0]
    report = judge_order(answers, _clicks(answers, "h"), order, what="file")
    assert report.outcome.snips.value == pytest.approx(1.0, abs=0.02)


def test_a_file_without_orders_is_refused_by_name(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "none.parquet")

    with pytest.raises(EvaluationInputError, match=r"none\.parquet"):
        file_order(tmp_path / "none.parquet")


def test_orders_that_speak_of_no_answer_are_refused() -> None:
    with pytest.raises(NoSupportError, match="shown 0 times"):
        judge_order(_answers(10), set(), lambda _answer: None, what="silence")


@pytest.mark.parametrize("name", list(ORDERS))
def test_every_named_order_puts_each_item_somewhere(name: str) -> None:
    chances = ORDERS[name](_answers(1).explored[0])

    assert chances is not None
    np.testing.assert_allclose(chances.sum(axis=0), 1.0)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_what_the_api_logs_is_what_is_read() -> None:
    served = ServedAnswer(
        recommendation_id="r",
        visitor_key="00" * 16,
        placement="home",
        time_ms=1,
        item_ids=("a", "b"),
        scores=(1.0, 0.5),
        served_by="blend",
        propensities=(None, 0.25),
        exploration=Exploration((1,), (0,)),
    )

    read = msgspec.json.decode(msgspec.json.encode(served), type=LoggedAnswer)

    assert (read.propensities, read.exploration) == ((None, 0.25), Exploration((1,), (0,)))
