"""What the API logs on the bus is what another order is judged by."""

from pathlib import Path

import numpy as np
import pytest

from api.answers import ServedAnswer, _record
from ingest.bus.contract import Bus, Record
from ingest.topics import ANSWERS
from recommender.evaluation.judged_orders import judge_order, judge_pin, ranked_order
from recommender.evaluation.logged_answers import clicks_of, read_answers
from recommender.history import EMPTY_HISTORY
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.protocol import Events
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000


def _served(count: int) -> list[ServedAnswer]:
    """Answers of a real recommender that leaves all of them to chance."""
    recommender = Recommender(RecommenderSettings(shuffle_share=1.0))
    model = LiveModel("v1", ModelParameters())
    for number in range(10):
        model.items.add(f"item-{number}")
    rows = np.repeat(np.arange(10), np.arange(20, 10, -1)).astype(np.int32)
    sessions = np.arange(len(rows), dtype=np.int64)
    model.learn(Events(sessions, rows, np.ones(len(rows), np.uint8), np.full(len(rows), _NOW_MS - 1_000)))
    recommender.use(model)
    answers = []
    for number in range(count):
        ranked = recommender.recommend(RecommendRequest(f"v{number}", n=8), EMPTY_HISTORY, _NOW_MS + number, 1_000.0)
        answers.append(
            ServedAnswer(
                recommendation_id=f"r{number}",
                visitor_key=number.to_bytes(16, "big").hex(),
                placement="home" if number % 10 else "cart",
                time_ms=_NOW_MS + number,
                item_ids=tuple(item.id for item in ranked.items),
                scores=tuple(item.score for item in ranked.items),
                served_by=ranked.served_by,
                propensities=tuple(item.propensity for item in ranked.items),
                exploration=ranked.exploration,
            )
        )
    return answers


async def test_an_order_is_judged_by_what_was_logged_on_the_bus(events_bus: Bus, tmp_path: Path) -> None:
    await events_bus.ensure([ANSWERS], partitions=2)
    served = _served(1_000)
    verdicts = await events_bus.publish(
        ANSWERS, [*map(_record, served), Record(bytes(16), b'{"no": "answer"}', _NOW_MS)]
    )
    assert not any(isinstance(verdict, Exception) for verdict in verdicts)

    read = await read_answers(events_bus, placement="home")

    assert (read.total, len(read.explored), read.unreadable) == (900, 900, 1)
    clicks = {(each.recommendation_id, each.item_ids[5]) for each in read.explored}
    outcome = judge_order(read, clicks, ranked_order, what="ranked").outcome
    assert outcome.logged.value == 1.0
    assert outcome.snips.value == pytest.approx(1.0, abs=0.05)
    liked = served[1].item_ids[5]
    assert judge_pin(read, clicks, liked, 6).outcome.snips.value == pytest.approx(1.0)
    assert clicks_of(tmp_path / "no-archive-yet") == set()
