"""Bots with 10,000 clicks each push one item, through all that the learner does; honest visitors hardly notice."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated
from ingest.events import Event, EventName, Item
from recommender.incremental import LearningIals
from recommender.learner_state import LearnerState
from recommender.models.ials import IalsParameters
from recommender.models.protocol import NOTHING_BLOCKED, Prefix, Rows
from recommender.settings import LearnerSettings

ITEMS, ROOM = 600, 40
VISITORS = 6_000
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
NOW_MS = 1_700_000_000_000
PUSHED, POPULAR = 590, 0
CLICKS = 10_000
N = 20

Click = tuple[int, int, EventName, int]
"""Visitor, item, kind, time."""


def crowd(chance: random.Random) -> list[Click]:
    """A day of visitors, each in one of fifteen rooms but for a fifth of the clicks; the first ones are the busiest."""
    clicks: list[Click] = []
    for visitor in range(VISITORS):
        room = min(int(chance.expovariate(0.15)), ITEMS // ROOM - 1)
        time_ms = NOW_MS - chance.randrange(DAY_MS)
        for _ in range(chance.randrange(2, 8)):
            here = room if chance.random() < 0.8 else chance.randrange(ITEMS // ROOM)
            item = here * ROOM + min(int(chance.expovariate(0.2)), ROOM - 1)
            clicks.append((visitor, item, chance.choice(["view_item"] * 8 + ["add_to_cart", "purchase"]), time_ms))
            time_ms += 30_000
    return clicks


def hammering(bot: int) -> Iterator[Click]:
    """One item, as fast as it goes, in every kind."""
    for click in range(CLICKS):
        name: EventName = ("view_item", "add_to_cart", "purchase")[click % 3]
        yield bot, PUSHED, name, NOW_MS - HOUR_MS + click * 300


def riding(bot: int) -> Iterator[Click]:
    """In turns with the most popular item, so that the two seem to belong together."""
    for click in range(CLICKS):
        yield bot, (POPULAR, PUSHED)[click % 2], "view_item", NOW_MS - HOUR_MS + click * 300


def forging(bot: int) -> Iterator[Click]:
    """Times made up, back and forth by hours, so that each pair of clicks seems another session in another hour."""
    for click in range(CLICKS):
        hours = (click // 2 * 7) % 24
        name: EventName = "purchase" if click % 5 == 0 else "view_item"
        yield bot, (POPULAR, PUSHED)[click % 2], name, NOW_MS - hours * HOUR_MS + click % 2 * 1_000


def patient(bot: int) -> Iterator[Click]:
    """A new session every half hour of the day before, each once with the popular item."""
    for click in range(CLICKS):
        step = click * 48 // CLICKS
        yield bot, (POPULAR, PUSHED)[click % 2], "view_item", NOW_MS - DAY_MS + step * HOUR_MS // 2 + click % 200


def learnt(clicks: list[Click]) -> LearnerState:
    state = LearnerState(LearnerSettings(factors=16, iterations=4), "v1")
    state.model.replace_ials(LearningIals(IalsParameters(factors=16, iterations=4), limits=state.limits))
    for item in range(ITEMS):
        state.model.items.add(f"item-{item}")
    for at, (visitor, item, name, time_ms) in enumerate(clicks):
        key = visitor.to_bytes(16, "big")
        event = Event(f"message-{at}", name, key.hex(), time_ms, time_ms, (Item(f"item-{item}"),))
        entry = Entry(key, b"{}", time_ms, Position(at + 1, 0, 0))
        state.take(Deduplicated(Delivery("events", 0, 1, time_ms, (entry,)), [entry], [event], [], 0))
        if at % 500 == 499:
            state.flush()
    state.flush()
    fitted = LearningIals.fitted(
        state.interactions.events(),
        items=ITEMS,
        parameters=IalsParameters(factors=16, iterations=4),
        limits=state.limits,
    )
    state.model.replace_ials(fitted)
    return state


def lists(state: LearnerState) -> dict[str, Rows]:
    """What everybody is shown, and what visitors in all rooms are shown, those of the popular item among them."""
    model = state.model
    shown: dict[str, Rows] = {
        "trends": np.argsort(-model.popularity.trending(model.newest_ms), kind="stable")[:N].astype(np.int32),
        "popular": np.argsort(-model.popularity.popular(model.newest_ms), kind="stable")[:N].astype(np.int32),
        "goes with the popular item": model.neighbours(POPULAR, N, NOTHING_BLOCKED).rows,
        "bought together": model.bought_together.scores(_prefix(POPULAR), N).rows,
    }
    chance = random.Random(5)
    for visitor in range(60):
        room = chance.randrange(ITEMS // ROOM - 1)
        seen = [room * ROOM + chance.randrange(4) for _ in range(1 + visitor % 4)]
        shown[f"visitor {visitor} of {seen}"] = model.personal(_prefix(*seen), N, NOTHING_BLOCKED).rows
    for seen in ([POPULAR], [1, POPULAR], [POPULAR, 2]):
        shown[f"visitor of {seen}"] = model.personal(_prefix(*seen), N, NOTHING_BLOCKED).rows
    return shown


def _prefix(*rows: int) -> Prefix:
    times_ms = NOW_MS + np.arange(len(rows), dtype=np.int64)
    return Prefix(np.array(rows, np.int32), np.ones(len(rows), np.uint8), times_ms)


def attacked(attack: Callable[[int], Iterator[Click]], bots: int) -> list[Click]:
    """Honest clicks and the bots', in the order of their times as they come in (made-up times come when they come)."""
    clicks = crowd(random.Random(7))
    arrivals = [(click[3], click) for click in clicks]
    for bot in range(bots):
        for number, click in enumerate(attack(1_000_000 + bot)):
            arrivals.append((NOW_MS - HOUR_MS + number * 300 + bot, click))
    return [click for _, click in sorted(arrivals)]


@pytest.mark.parametrize("bots", [1, 3])
@pytest.mark.parametrize("attack", [hammering, riding, forging, patient])
def test_bots_move_no_item_into_trends_or_anyones_list(attack: Callable[[int], Iterator[Click]], bots: int) -> None:
    shown = lists(learnt(attacked(attack, bots)))

    taken_in = [name for name, rows in shown.items() if PUSHED in rows]
    assert not taken_in


def test_honest_visitors_who_do_as_the_bots_pretend_are_heard() -> None:
    clicks = crowd(random.Random(7))
    for visitor in range(150):
        at_ms = NOW_MS - HOUR_MS + visitor * 20_000
        clicks += [
            (2_000_000 + visitor, POPULAR, "view_item", at_ms),
            (2_000_000 + visitor, PUSHED, "view_item", at_ms + 1),
        ]

    shown = lists(learnt(sorted(clicks, key=lambda click: click[3])))

    assert PUSHED in shown["trends"]
    assert PUSHED in shown["goes with the popular item"]
    assert PUSHED in shown[f"visitor of {[POPULAR]}"]
