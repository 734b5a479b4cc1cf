"""A crowd of simulated shoppers with tastes: what each does next, given what they were shown. No clock, no network."""

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

ProductFacts = Mapping[str, Any]
WireEvent = dict[str, Any]


class Habits(msgspec.Struct, frozen=True):
    """How the crowd behaves; probabilities are per step unless they say otherwise.

    Clicks on suggestions follow the cascade model (Craswell et al., WSDM 2008): the list is read from the top, each
    further place with `read_on`; an item to the shopper's taste is clicked with `click_fitting`, another with
    `click_other`.
    """

    session_steps_mean: float = 7.0
    session_steps_max: int = 40
    tastes_max: int = 3
    items_seen_max: int = 8
    read_on: float = 0.85
    click_fitting: float = 0.25
    click_other: float = 0.03
    related: float = 0.5
    """Of going from an item to one that goes with it, rather than to another of the shopper's categories."""
    search: float = 0.04
    add_to_cart: float = 0.15
    change_mind: float = 0.08
    """Of taking the last thing out of the cart again."""
    buy: float = 0.5
    """Of buying a cart that is not empty, when the session ends."""
    popularity_skew: float = 1.0
    """Zipf exponent inside a category."""
    related_items: int = 6


class Shown(msgspec.Struct, frozen=True):
    """A list of suggestions that a shopper has before them."""

    recommendation_id: str
    placement: str
    item_ids: tuple[str, ...]


class Visit(msgspec.Struct, frozen=True):
    """One step of a shopper: what they did, in order, and the item whose page they are on now.

    `session_ended`: they leave; nothing needs to be shown to them.
    """

    visitor: str
    events: tuple[WireEvent, ...]
    item: str | None
    session_ended: bool


class _Shopper:
    def __init__(self, name: str, tastes: Sequence[str]) -> None:
        self.name = name
        self.tastes = tastes
        self.sessions = 0
        self.steps_left = 0
        self.item: str | None = None
        self.cart: list[str] = []


class Crowd:
    """`shoppers` people in a shop that sells `products`. The same seed and the same answers give the same visits.

    Args:
        products: each with `item_id`; `category` and `price` where known. Not modified.
        run_id: part of each `message_id`; another one for every run, or the system takes the run for a repetition.
    """

    def __init__(
        self, products: Sequence[ProductFacts], *, shoppers: int, seed: int, run_id: str, habits: Habits | None = None
    ) -> None:
        if not products:
            raise ValueError("a crowd needs at least one product, got none; fill the catalogue first")
        self._rng = random.Random(seed)
        self._habits = habits = habits or Habits()
        self._run_id = run_id
        self._sent = 0
        self._products = {str(product["item_id"]): product for product in products}
        self._category_of = {item: str(product.get("category") or "all") for item, product in self._products.items()}
        self._shelves = _shelves(self._category_of, self._rng)
        self._popularity = {
            name: list(accumulate(1.0 / (rank + 1) ** habits.popularity_skew for rank in range(len(items))))
            for name, items in self._shelves.items()
        }
        self._places = {item: place for items in self._shelves.values() for place, item in enumerate(items)}
        self._shoppers = [self._new_shopper(f"shopper-{seed}-{at}") for at in range(shoppers)]

    @property
    def visitors(self) -> tuple[str, ...]:
        """Everybody's anonymous id."""
        return tuple(shopper.name for shopper in self._shoppers)

    def page_of(self, shopper: int) -> tuple[str, str | None]:
        """Anonymous id of a shopper by number, and the item whose page they are on."""
        return self._shoppers[shopper].name, self._shoppers[shopper].item

    def step(self, shopper: int, shown: Shown | None = None) -> Visit:
        """What a shopper, by number, does next; `shown` is what they were given at their last step."""
        who = self._shoppers[shopper]
        if who.steps_left == 0:
            self._start_session(who)
        events = self._go_on(who, shown)
        events += self._cart_events(who)
        who.steps_left -= 1
        ended = who.steps_left == 0
        if ended:
            events += self._checkout(who)
        return Visit(who.name, tuple(events), None if ended else who.item, ended)

    def _new_shopper(self, name: str) -> _Shopper:
        wished = self._rng.randint(1, self._habits.tastes_max)
        return _Shopper(name, self._rng.sample(sorted(self._shelves), min(wished, len(self._shelves))))

    def _start_session(self, who: _Shopper) -> None:
        who.sessions += 1
        mean = self._habits.session_steps_mean
        who.steps_left = min(1 + int(self._rng.expovariate(1.0 / mean)), self._habits.session_steps_max)
        who.item = None

    def _go_on(self, who: _Shopper, shown: Shown | None) -> list[WireEvent]:
        """To a suggestion, to what goes with the item, or somewhere else they like; the impression goes first."""
        events: list[WireEvent] = []
        if shown is not None and shown.item_ids:
            seen = shown.item_ids[: self._habits.items_seen_max]
            events.append(self._list_event(who, "view_item_list", shown, seen, first=0))
            place = self._clicked(who, seen)
            if place is not None:
                who.item = seen[place]
                events.append(self._list_event(who, "select_item", shown, seen[place : place + 1], first=place))
                events.append(self._item_event(who, "view_item", who.item))
                return events
        if self._rng.random() < self._habits.search:
            term = str(self._products[self._wander(who)].get("title") or "gift").split()[-1]
            events.append(self._event(who, "search", search_term=term.lower()))
        who.item = self._next_item(who)
        events.append(self._item_event(who, "view_item", who.item))
        return events

    def _clicked(self, who: _Shopper, seen: Sequence[str]) -> int | None:
        for place, item in enumerate(seen):
            fits = self._category_of.get(item) in who.tastes
            if self._rng.random() < (self._habits.click_fitting if fits else self._habits.click_other):
                return place
            if self._rng.random() > self._habits.read_on:
                return None
        return None

    def _next_item(self, who: _Shopper) -> str:
        if who.item in self._places and self._rng.random() < self._habits.related:
            return self._related(who.item)
        return self._wander(who)

    def _wander(self, who: _Shopper) -> str:
        """An item of a category they like, popular ones more often."""
        category = self._rng.choice(who.tastes)
        weights = self._popularity[category]
        return self._shelves[category][bisect_left(weights, self._rng.random() * weights[-1])]

    def _related(self, item: str) -> str:
        """One of the few that go with `item`: the next on its shelf's circle, nearer ones more often."""
        shelf = self._shelves[self._category_of[item]]
        ahead = 1 + int(self._habits.related_items * self._rng.random() ** 2)
        # A stride spreads what goes together over popular and rare items.
        stride = max(1, len(shelf) // 3)
        return shelf[(self._places[item] + ahead * stride + ahead) % len(shelf)]

    def _cart_events(self, who: _Shopper) -> list[WireEvent]:
        events: list[WireEvent] = []
        if who.item is not None and who.item not in who.cart and self._rng.random() < self._habits.add_to_cart:
            who.cart.append(who.item)
            events.append(self._item_event(who, "add_to_cart", who.item))
        elif who.cart and self._rng.random() < self._habits.change_mind:
            events.append(self._item_event(who, "remove_from_cart", who.cart.pop()))
        return events

    def _checkout(self, who: _Shopper) -> list[WireEvent]:
        if not who.cart or self._rng.random() >= self._habits.buy:
            return []
        items = [self._wire_item(item) for item in who.cart]
        value = round(sum(item.get("price", 0.0) for item in items), 2)
        who.cart = []
        return [
            self._event(who, "begin_checkout", items=items, value=value),
            self._event(who, "purchase", items=items, value=value),
        ]

    def _list_event(self, who: _Shopper, name: str, shown: Shown, items: Sequence[str], *, first: int) -> WireEvent:
        return self._event(
            who,
            name,
            items=[{"item_id": item, "index": at} for at, item in enumerate(items, first)],
            recommendation_id=shown.recommendation_id,
            placement=shown.placement,
        )

    def _item_event(self, who: _Shopper, name: str, item: str) -> WireEvent:
        return self._event(who, name, items=[self._wire_item(item)])

    def _wire_item(self, item: str) -> dict[str, Any]:
        price = self._products.get(item, {}).get("price")
        return {"item_id": item} if price is None else {"item_id": item, "price": price}

    def _event(self, who: _Shopper, name: str, **more: Any) -> WireEvent:
        self._sent += 1
        return {
            "message_id": f"{self._run_id}-{self._sent:08d}",
            "event": name,
            "anonymous_id": who.name,
            "session_id": f"{who.name}-{self._run_id}-{who.sessions}",
            **more,
        }


def _shelves(category_of: Mapping[str, str], rng: random.Random) -> dict[str, list[str]]:
    """The items of each category, in an order drawn once: the first are the popular ones."""
    shelves: dict[str, list[str]] = {}
    for item, category in category_of.items():
        shelves.setdefault(category, []).append(item)
    for items in shelves.values():
        rng.shuffle(items)
    return shelves
