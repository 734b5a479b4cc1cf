"""What suggestions earned: the last click of seven days takes the sale, and nothing counts twice."""

from typing import Any

import pytest

from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position
from ingest.events import Attribution, Event, Item
from recommender.attribution import SALE_MS, earned
from recommender.earned import By, Earned

START_MS = 1_784_000_400_000
HOUR_S = 3_600


class _Log:
    def __init__(self) -> None:
        self.rows: list[ArchivedEvent] = []

    def add(
        self, event: str, at_s: int, *items: Item, answer: str | None = None, visitor: int = 1, **came: Any
    ) -> None:
        time_ms = START_MS + at_s * 1_000
        attribution = None if answer is None else Attribution(came.pop("placement", "home"), time_ms, **came)
        number = len(self.rows)
        fields = Event(
            f"message-{number}",
            event,  # type: ignore[arg-type]
            visitor.to_bytes(16, "big").hex(),
            time_ms,
            time_ms,
            items or (Item("mug"),),
            recommendation_id=answer,
            attribution=attribution,
        )
        self.rows.append(ArchivedEvent(0, Position(1, number, 0), time_ms, fields))

    def earned(self, by: By = "placement", *, from_s: int = 0, until_s: int = 10**7) -> list[Earned]:
        return earned(
            rows_of(self.rows).lazy(), by=by, from_ms=START_MS + from_s * 1_000, until_ms=START_MS + until_s * 1_000
        )


def test_a_sale_goes_to_the_last_click_of_seven_days() -> None:
    log = _Log()
    log.add("view_item_list", 0, Item("mug"), Item("pot"), answer="r1")
    log.add("select_item", 1, answer="r1")
    log.add("select_item", 10, answer="r2", placement="cart")
    log.add("add_to_cart", 20)
    log.add("purchase", 30, Item("mug", 2, 5.0), Item("pot", 1, 9.0))

    assert log.earned() == [Earned("cart", 0, 1, 1, 2, 10.0), Earned("home", 2, 1, 0, 0, 0.0)]


def test_without_a_click_nothing_is_earned() -> None:
    log = _Log()
    log.add("view_item_list", 0, answer="r1")
    log.add("purchase", 10, Item("mug", 1, 5.0))
    log.add("select_item", 20, answer="r1")
    log.add("purchase", 30, Item("mug", 1, 5.0), visitor=2)

    assert log.earned() == [Earned("home", 1, 1, 0, 0, 0.0)]


def test_after_seven_days_a_click_takes_nothing() -> None:
    log = _Log()
    log.add("select_item", 0, answer="r1")
    log.add("purchase", SALE_MS // 1_000, Item("mug", 1, 5.0))
    log.add("purchase", SALE_MS // 1_000 + 1, Item("mug", 1, 7.0))

    assert log.earned()[0].revenue == 5.0


def test_an_answers_item_counts_once_a_visitor() -> None:
    log = _Log()
    for at_s in (0, 1, 2):
        log.add("view_item_list", at_s, answer="r1")
        log.add("select_item", at_s, answer="r1")
    log.add("select_item", 3, answer="r2")

    assert log.earned() == [Earned("home", 1, 2, 0, 0, 0.0)]


def test_items_that_were_not_in_the_answer_do_not_count() -> None:
    log = _Log()
    log.add("view_item_list", 0, Item("mug"), Item("foreign"), answer="r1", foreign=(1,))

    assert log.earned()[0].shown == 1


def test_refunds_subtract_even_later() -> None:
    log = _Log()
    log.add("select_item", 0, answer="r1")
    log.add("purchase", 10, Item("mug", 3, 5.0))
    log.add("refund", 10 + 2 * SALE_MS // 1_000, Item("mug", 1, 5.0))
    log.add("refund", 20, Item("mug", 1, 5.0), visitor=2)

    assert log.earned() == [Earned("home", 0, 1, 0, 2, 10.0)]


def test_a_click_before_the_time_asked_for_takes_the_sale_in_it() -> None:
    log = _Log()
    log.add("select_item", 0, answer="r1")
    log.add("purchase", 2 * HOUR_S, Item("mug", 1, 5.0))

    assert log.earned(from_s=HOUR_S) == [Earned("home", 0, 0, 0, 1, 5.0)]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("variant", {"e/a", ""}),
        ("rules", {"7", "0"}),
        ("model", {str(START_MS), "0"}),
        ("hour", {"2026-07-14T03:00Z", "2026-07-14T04:00Z"}),
    ],
)
def test_it_is_told_by_what_it_came_from(by: By, keys: set[str]) -> None:
    log = _Log()
    log.add("select_item", 0, answer="r1", variant="e/a", rules=7, model_ms=START_MS)
    log.add("select_item", HOUR_S, answer="r2")

    assert {row.key for row in log.earned(by)} == keys
