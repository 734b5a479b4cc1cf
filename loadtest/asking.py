"""Ask for a visitor's suggestions before their next event, and score what was served against that event."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from loadtest.client import Client
from loadtest.errors import ConnectionLostError, RequestRefusedError
from loadtest.files import Row
from loadtest.percentiles import Percentiles, percentiles_of

ASKABLE = frozenset({"view_item", "add_to_cart", "purchase"})
"""What a suggestion could have led to; nobody suggests a refund."""


class _Suggested(msgspec.Struct):
    id: str


class Suggestions(msgspec.Struct):
    """The parts of an answer of `/v1/recommendations` that are looked at."""

    items: list[_Suggested]
    served_by: str = "unknown"
    degraded: str | None = None
    recommendation_id: str = ""


class Hits(msgspec.Struct, frozen=True):
    """How often the item was in the list (hr), and the mean of 1/rank (mrr), at the n that was asked for."""

    asks: int
    hr: float
    mrr: float


class AskReport(msgspec.Struct, frozen=True):
    """What asking found.

    `hits["all"]` counts every scored ask; `hits["changes"]` leaves out those whose item is the visitor's last one
    again, as the quality tables do (the current item is not suggested, so such a target can never be hit);
    `first-event` and `known-visitor` part them by whether the visitor had any history.
    """

    n: int
    hits: Mapping[str, Hits]
    by_rung: Mapping[str, Hits]
    by_degraded: Mapping[str, Hits]
    errors: Mapping[str, int]
    latency: Percentiles


class _Sum:
    def __init__(self) -> None:
        self.asks, self.hits, self.reciprocal_ranks = 0, 0, 0.0

    def add(self, rank: int | None) -> None:
        self.asks += 1
        if rank is not None:
            self.hits += 1
            self.reciprocal_ranks += 1.0 / rank

    def report(self) -> Hits:
        return Hits(self.asks, round(self.hits / self.asks, 4), round(self.reciprocal_ranks / self.asks, 4))


class Asker:
    """Asks and keeps score. A failed ask is counted and never repeated: the page would be drawn by now."""

    def __init__(self, client: Client, *, n: int, placement: str) -> None:
        self._client = client
        self._n = n
        self._placement = placement
        self._times_s: list[float] = []
        self._errors: Counter[str] = Counter()
        self._groups: defaultdict[str, _Sum] = defaultdict(_Sum)
        self._rungs: defaultdict[str, _Sum] = defaultdict(_Sum)
        self._degraded: defaultdict[str, _Sum] = defaultdict(_Sum)

    async def ask(self, row: Row) -> None:
        """Ask as `row`'s visitor, before `row` is sent, and score the list against `row.item`."""
        start_s = time.perf_counter()
        try:
            response = await self._client.request("GET", suggestions_target(row.visitor, self._placement, self._n))
        except ConnectionLostError:
            self._errors["connection"] += 1
            return
        self._times_s.append(time.perf_counter() - start_s)
        if response.status != 200:
            self._errors[str(response.status)] += 1
            return
        self._score(row, decode_suggestions(response.body))

    def _score(self, row: Row, answer: Suggestions) -> None:
        rank = next((at for at, suggested in enumerate(answer.items, 1) if suggested.id == row.item), None)
        self._groups["all"].add(rank)
        if row.item != row.item_before:
            self._groups["changes"].add(rank)
        self._groups["known-visitor" if row.visitor_events_before else "first-event"].add(rank)
        self._rungs[answer.served_by].add(rank)
        self._degraded[answer.degraded or "not degraded"].add(rank)

    def report(self) -> AskReport:
        """The score so far."""
        return AskReport(
            n=self._n,
            hits=_reports(self._groups),
            by_rung=_reports(self._rungs),
            by_degraded=_reports(self._degraded),
            errors=dict(self._errors),
            latency=percentiles_of(self._times_s),
        )


def decode_suggestions(body: bytes) -> Suggestions:
    """An answer of `/v1/recommendations`.

    Raises:
        RequestRefusedError: it is something else.
    """
    try:
        return msgspec.json.decode(body, type=Suggestions)
    except msgspec.DecodeError as error:
        raise RequestRefusedError(
            f"wanted suggestions as JSON; got {body[:100]!r} ({error}); is this Afterclick?"
        ) from error


def suggestions_target(visitor: str, placement: str, n: int, *, item: str | None = None) -> str:
    """Path and query of one call for suggestions."""
    page = f"&item={quote(item, safe='')}" if item is not None else ""
    return f"/v1/recommendations?visitor={quote(visitor, safe='')}&placement={quote(placement, safe='')}&n={n}{page}"


def _reports(sums: Mapping[str, _Sum]) -> dict[str, Hits]:
    return {name: total.report() for name, total in sorted(sums.items())}
