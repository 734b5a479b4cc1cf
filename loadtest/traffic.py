"""Where a load run's clicks come from: a simulated crowd, or a file of real ones played over and over."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import orjson

from loadtest.asking import suggestions_target
from loadtest.crowd import Crowd, ProductFacts, WireEvent
from loadtest.files import EventFile, read_events
from loadtest.open_loop import Call
from loadtest.replay import wire_event
from loadtest.settings import LoadOptions


class Traffic(Protocol):
    """An endless supply of clicks, and of visitors to ask for."""

    products: Sequence[ProductFacts]

    def events(self, count: int) -> list[WireEvent]:
        """The next `count` events."""
        ...

    def visitor(self) -> tuple[str, str | None]:
        """Somebody who may come to the shop now, and the item whose page they are on."""
        ...


class CrowdTraffic:
    """Simulated shoppers, drawn at random for each step."""

    def __init__(self, products: Sequence[ProductFacts], *, shoppers: int, seed: int, run_id: str) -> None:
        self.products = products
        self._crowd = Crowd(products, shoppers=shoppers, seed=seed, run_id=run_id)
        self._shoppers = shoppers
        self._rng = random.Random(seed + 1)
        self._waiting: deque[WireEvent] = deque()

    def events(self, count: int) -> list[WireEvent]:
        """The next `count` events."""
        while len(self._waiting) < count:
            self._waiting += self._crowd.step(self._rng.randrange(self._shoppers)).events
        return [self._waiting.popleft() for _ in range(count)]

    def visitor(self) -> tuple[str, str | None]:
        """One of the crowd, and the item they looked at last."""
        return self._crowd.page_of(self._rng.randrange(self._shoppers))


class FileTraffic:
    """A file's rows in order, again from the top when it ends, stamped on arrival, with ids of this run."""

    def __init__(self, file: EventFile, *, seed: int, run_id: str, recent_max: int) -> None:
        self.products: Sequence[ProductFacts] = [product._asdict() for product in file.products]
        self._run_id = run_id
        self._rows = self._for_ever(file)
        self._recent: deque[tuple[str, str | None]] = deque(maxlen=recent_max)
        self._first = next(file.rows())
        self._rng = random.Random(seed)

    @staticmethod
    def _for_ever(file: EventFile) -> Iterator[WireEvent]:
        while True:
            for row in file.rows():
                yield wire_event(row, digest=file.digest, stamp=lambda _time_ms: None, currency=None)

    def events(self, count: int) -> list[WireEvent]:
        """The next `count` events."""
        chosen = []
        for _ in range(count):
            event = next(self._rows)
            event["message_id"] = f"{self._run_id}-{self._rng.getrandbits(60):015x}"
            items = event.get("items") or [{"item_id": None}]
            self._recent.append((event["anonymous_id"], items[0]["item_id"]))
            chosen.append(event)
        return chosen

    def visitor(self) -> tuple[str, str | None]:
        """One of those who clicked lately."""
        if not self._recent:
            return self._first.visitor, self._first.item
        return self._recent[self._rng.randrange(len(self._recent))]


def open_traffic(options: LoadOptions, products: Sequence[ProductFacts], *, run_id: str) -> Traffic:
    """The traffic `options.source` names.

    Raises:
        InputFileError: the file cannot be read as events.
    """
    if options.source == "shoppers":
        return CrowdTraffic(products, shoppers=options.visitors, seed=options.seed, run_id=run_id)
    file = read_events(Path(options.source), columns=options.columns, kinds=options.kinds, event_default="view_item")
    return FileTraffic(file, seed=options.seed, run_id=run_id, recent_max=options.visitors)


def event_call(traffic: Traffic, batch_events: int) -> Call:
    """One POST of the next events."""
    events = traffic.events(batch_events)
    return Call("POST", "/v1/events", orjson.dumps({"events": events}), weight=batch_events)


def ask_call(traffic: Traffic, placement: str, n: int) -> Call:
    """One call for somebody's suggestions, with the item of the page they are on."""
    visitor, item = traffic.visitor()
    return Call("GET", suggestions_target(visitor, placement, n, item=item))
