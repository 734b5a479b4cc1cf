"""`afterclick evaluate off-policy`: judge other orders by what the running system served and what was clicked of it."""

import time
from pathlib import Path

import msgspec

from afterclick.errors import PartFailedError
from afterclick.settings import Settings
from ingest.bus import open_bus
from recommender.evaluation.judged_orders import ORDERS, OffPolicyReport, file_order, judge_order, judge_pin
from recommender.evaluation.logged_answers import AnswersRead, clicks_of, read_answers


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: a pin (`pin` into `slot`, 1 is the first), else a file's `orders`, else the `order` of that name.

    `days`: of answers, the newest.
    """

    order: str = "ranked"
    pin: str | None = None
    slot: int = 1
    orders: Path | None = None
    placement: str | None = None
    days: float = 30.0


async def answers_of_running(settings: Settings, question: Question) -> tuple[AnswersRead, set[tuple[str, str]]]:
    """What the system in `settings.data_dir` served, and the clicks in its archive.

    Raises:
        PartFailedError: no system runs there.
    """
    resolved_file = settings.run_dir / "settings.json"
    if not resolved_file.exists():
        raise PartFailedError(
            f"a running system's {resolved_file} is wanted, there is none; start one with `afterclick up --data-dir …`"
        )
    resolved = msgspec.json.decode(resolved_file.read_bytes(), type=Settings)
    bus = await open_bus(resolved.system.bus, settings=resolved.bus)
    try:
        since_ms = time.time_ns() // 1_000_000 - round(question.days * 86_400_000)
        answers = await read_answers(bus, since_ms=since_ms, placement=question.placement)
    finally:
        await bus.close()
    return answers, clicks_of(resolved.archive_dir)


def judge(answers: AnswersRead, clicks: set[tuple[str, str]], question: Question) -> OffPolicyReport:
    """The estimate that `question` asks for.

    Raises:
        NoSupportError: the log cannot tell; says how much it holds.
        EvaluationInputError: the file of orders cannot be read.
    """
    if question.pin is not None:
        return judge_pin(answers, clicks, question.pin, question.slot)
    if question.orders is not None:
        return judge_order(answers, clicks, file_order(question.orders), what=f"the order in {question.orders.name}")
    return judge_order(answers, clicks, ORDERS[question.order], what=f"the {question.order} order")
