"""What may not be suggested to this visitor now, and by which rule."""

from typing import NamedTuple

from feature_store.kinds import Kind
from recommender.history import History
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings


class Exclusions(NamedTuple):
    """Item ids left out, by rule; an item may stand under several."""

    page_item: frozenset[str]
    excluded: frozenset[str]
    in_cart: frozenset[str]
    bought: frozenset[str]
    shown_on_page: frozenset[str] = frozenset()

    def all(self) -> frozenset[str]:
        """Under any rule."""
        return self.page_item | self.excluded | self.in_cart | self.bought | self.shown_on_page

    def only_bought(self) -> frozenset[str]:
        """Bought, and under no other rule."""
        return self.bought - self.page_item - self.excluded - self.in_cart - self.shown_on_page

    def rules(self) -> list[str]:
        """The rules that leave anything out, in order."""
        return [name for name, items in zip(_RULE_NAMES, self, strict=True) if items]

    def rule(self, item_id: str) -> str | None:
        """The first rule that leaves `item_id` out; None: none does."""
        return next(iter(self.rules_of(item_id)), None)

    def rules_of(self, item_id: str) -> list[str]:
        """Every rule that leaves `item_id` out, in order."""
        return [name for name, items in zip(_RULE_NAMES, self, strict=True) if item_id in items]


_RULE_NAMES = ("page-item", "excluded", "in-cart", "bought", "shown-on-page")


def exclusions(
    request: RecommendRequest,
    history: History,
    *,
    now_ms: int,
    settings: RecommenderSettings,
    shown_on_page: frozenset[str] = frozenset(),
) -> Exclusions:
    """The request's own wishes, and what the visitor's events say of cart and purchases."""
    page_item = frozenset((request.item,)) if request.item is not None else frozenset[str]()
    in_cart, bought = _cart_and_bought(history, now_ms=now_ms, settings=settings)
    return Exclusions(page_item, frozenset(request.exclude), frozenset(request.cart) | in_cart, bought, shown_on_page)


def _cart_and_bought(
    history: History, *, now_ms: int, settings: RecommenderSettings
) -> tuple[frozenset[str], frozenset[str]]:
    kinds = history.kind.tobytes()
    # Most histories hold nothing but views; one look in C spares them the loop.
    if not kinds or max(kinds) < Kind.ADD_TO_CART:
        return frozenset(), frozenset()
    cart: set[str] = set()
    bought: set[str] = set()
    cart_since_ms = now_ms - settings.cart_ms_max
    for index, kind in enumerate(kinds):
        item_id = history.item_ids[index]
        if kind == Kind.ADD_TO_CART and history.time_ms[index] >= cart_since_ms:
            cart.add(item_id)
        elif kind == Kind.REMOVE_FROM_CART:
            cart.discard(item_id)
        elif kind == Kind.PURCHASE:
            cart.discard(item_id)
            bought.add(item_id)
        elif kind == Kind.REFUND:
            bought.discard(item_id)
    return frozenset(cart), frozenset(bought) if settings.exclude_purchased else frozenset()
