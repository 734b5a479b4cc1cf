"""Let a crowd of simulated shoppers use the running shop: clicks go out, suggestions come back and are followed."""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Sequence

import msgspec

from loadtest.asking import decode_suggestions, suggestions_target
from loadtest.client import Client
from loadtest.crowd import Crowd, ProductFacts, Shown, Visit
from loadtest.delivery import Delivery, Tally
from loadtest.errors import ServerError
from loadtest.synthetic_catalogue import synthetic_products

__all__ = ["ShoppersReport", "run_shoppers", "synthetic_products"]

THINK_S = 3.0
"""The mean time between two steps of one shopper; with the rate it gives how many are in the shop at once."""
IN_FLIGHT_MAX = 64
SEND_DEADLINE_S = 30.0


class ShoppersReport(msgspec.Struct, frozen=True):
    """What a crowd did.

    `skipped` steps found too many others under way; `failed` names what went wrong and how often.
    """

    steps: int
    events: int
    accepted: int
    rejected: dict[str, int]
    suggestions: int
    followed: int
    skipped: int
    failed: dict[str, int]


async def run_shoppers(
    api_url: str,
    write_key: str,
    products: Sequence[ProductFacts],
    rate_per_s: float,
    stop: asyncio.Event,
    seed: int = 7,
    *,
    shoppers: int = 500,
    placement_home: str = "home",
    placement_product: str = "product-page",
) -> ShoppersReport:
    """Take `rate_per_s` steps a second until `stop`; a step is one to four events and one call for suggestions.

    A server that is away, refuses or is slow is counted and waited for; nothing but `stop` ends the crowd.

    Args:
        products: what the shop sells: `item_id`, and `title`, `price`, `category` where known.
    """
    placements = (placement_home, placement_product)
    async with Client(api_url, key=write_key, connections_max=IN_FLIGHT_MAX) as client:
        crowd = Crowd(products, shoppers=shoppers, seed=seed, run_id=secrets.token_hex(6))
        return await _Visits(crowd, client, rate_per_s, placements).run(stop)


class _Visits:
    def __init__(self, crowd: Crowd, client: Client, rate_per_s: float, placements: tuple[str, str]) -> None:
        self._crowd = crowd
        self._client = client
        self._rate_per_s = rate_per_s
        self._placement_home, self._placement_product = placements
        self._tally = Tally()
        self._delivery = Delivery(client, self._tally, deadline_s=SEND_DEADLINE_S)
        present = min(len(crowd.visitors), max(4, round(rate_per_s * THINK_S)))
        self._present = deque(range(present))
        self._outside = deque(range(present, len(crowd.visitors)))
        self._shown: dict[int, Shown] = {}
        self._steps = self._suggestions = self._followed = self._skipped = 0
        self._failed: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> ShoppersReport:
        clock = asyncio.get_running_loop().time
        due_s = clock()
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while not stop.is_set():
                due_s += 1.0 / self._rate_per_s
                if len(under_way) >= IN_FLIGHT_MAX or not self._present:
                    self._skipped += 1
                else:
                    task = group.create_task(self._step(self._present.popleft()))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                if (wait_s := due_s - clock()) > 0:
                    await _sleep_or(stop, wait_s)
                else:
                    # Too slow for the rate: start afresh from now instead of bursting later.
                    due_s = clock()
                    await asyncio.sleep(0)
            for task in under_way:
                task.cancel()
        return self._report()

    async def _step(self, shopper: int) -> None:
        """One shopper acts, and is shown something; then they think, at the end of the line of those present."""
        visit = self._crowd.step(shopper, self._shown.pop(shopper, None))
        self._steps += 1
        self._followed += sum(event["event"] == "select_item" for event in visit.events)
        try:
            await self._delivery.send(visit.events)
            if not visit.session_ended:
                await self._ask(shopper, visit)
        except ServerError as error:
            self._failed[type(error).__name__] += 1
            await asyncio.sleep(1.0)
        finally:
            self._back(shopper, ended=visit.session_ended)

    async def _ask(self, shopper: int, visit: Visit) -> None:
        placement = self._placement_product if visit.item is not None else self._placement_home
        target = suggestions_target(visit.visitor, placement, 12, item=visit.item)
        response = await self._client.request("GET", target)
        if response.status != 200:
            self._failed[f"suggestions {response.status}"] += 1
            return
        answer = decode_suggestions(response.body)
        self._suggestions += 1
        item_ids = tuple(suggested.id for suggested in answer.items)
        self._shown[shopper] = Shown(answer.recommendation_id, placement, item_ids)

    def _back(self, shopper: int, *, ended: bool) -> None:
        """Those who end their session go out, and who has been out longest comes in."""
        if ended and self._outside:
            self._outside.append(shopper)
            shopper = self._outside.popleft()
        self._present.append(shopper)

    def _report(self) -> ShoppersReport:
        tally = self._tally
        return ShoppersReport(
            steps=self._steps,
            events=tally.sent,
            accepted=tally.accepted,
            rejected=dict(tally.rejected),
            suggestions=self._suggestions,
            followed=self._followed,
            skipped=self._skipped,
            failed=dict(self._failed),
        )


async def _sleep_or(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, or return at once when `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
