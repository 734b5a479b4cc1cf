"""The shop's policy around one answer: what may be in it, what counts more, and what stands in which slot."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter

from recommender.catalogue import Catalogue
from recommender.facts import NO_CODE
from recommender.filling import Filling
from recommender.history import History
from recommender.impressions import discounts_of
from recommender.live_model import LiveModel
from recommender.narrowing import Narrowing
from recommender.new_item_pool import NewItemPool
from recommender.new_items import seed_of, slot_chance, with_new_items
from recommender.notes import Notes
from recommender.page_views import PageViews
from recommender.policy import Exclusions, exclusions
from recommender.requests import Exploration, Logic, Reason, RecommendRequest, Rung
from recommender.rule_effects import NO_EFFECTS, Effects, Pin
from recommender.rule_set import NO_RULES, RuleSet, Situation, page_category
from recommender.segments import segments_of
from recommender.settings import RecommenderSettings
from recommender.shaping import Shaping
from recommender.slot_exploration import Shuffle, draw_slots

DIVERSITY, NEW_ITEMS, SHOWN = "diversity", "new-items", "shown-before"
FILTER, BOOSTER, WORN = "filter", "booster", "worn"
"""What the parts of the policy that are no rule of the shop are called in `explain` and the counters."""

_CANDIDATES_MIN, _CANDIDATES_FACTOR = 60, 3
_NEW_ITEMS_FROM = 4
_NO_NEW_ITEMS = frozenset({Logic.RECENT, Logic.BUY_AGAIN, Logic.COMPLEMENTARY})

_applied = Counter("afterclick_recommender_policy_total", "Answers that a rule took part in", ["rule"])


class InForce(NamedTuple):
    """The policy of one request."""

    left_out: Exclusions
    effects: Effects
    shaping: Shaping | None
    category: str | None
    diversity: float


class Arranged(NamedTuple):
    """An answer's slots. `rules`: what took part; `reasons`: by slot, what a rule did there.

    `exploration`: slots whose order chance drew; None in all but a few answers. `given`: new items by slot.
    """

    item_ids: list[str]
    scores: list[float]
    rungs: list[Rung]
    propensities: list[float | None] | None
    rules: tuple[str, ...]
    reasons: list[tuple[Reason, ...]]
    exploration: Exploration | None
    given: Mapping[int, str]


class ShopPolicy:
    """Holds the rules, and what has been shown; one thread."""

    def __init__(self, settings: RecommenderSettings, catalogue: Catalogue, narrowing: Narrowing) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._narrowing = narrowing
        self._page_views = PageViews(pages_max=settings.page_views_max, ms_max=settings.page_view_ms_max)
        self._pool = NewItemPool(
            events_max=settings.explore_events_max,
            shown_max=settings.explore_shown_max,
            refresh_ms=5 * settings.trends_refresh_ms,
        )
        self._shuffle = Shuffle(settings.shuffle_share, settings.shuffle_slots, settings.shuffle_temperature)
        self.rules = NO_RULES
        self._counters: dict[str, Callable[[], None]] = {}

    def use_rules(self, rules: RuleSet) -> None:
        """From now on."""
        self.rules = rules
        self._counters.clear()

    def of(self, request: RecommendRequest, history: History, model: LiveModel | None, now_ms: int) -> InForce:
        """What holds for a request.

        Raises:
            ExpressionError: a filter or booster of the request cannot be read.
        """
        shown: frozenset[str] = frozenset()
        if request.page_view_id is not None:
            place = (request.visitor, request.page_view_id, request.placement)
            shown = self._page_views.shown_elsewhere(*place, now_ms)
        left_out = exclusions(request, history, now_ms=now_ms, settings=self._settings, shown_on_page=shown)
        category, effects = request.category, NO_EFFECTS
        if len(self.rules) or request.logic is Logic.TRENDING:
            category = page_category(request.item, request.category, self._catalogue.facts)
        if len(self.rules):
            if self.rules.asks_features and model is not None:
                self._narrowing.refresh_features(model, now_ms)
            effects = self.rules.effects(self._situation(request, history, left_out, category, now_ms), now_ms)
        narrowed = self._narrowing.of(request, model, now_ms)
        discounts = discounts_of(history.shown, self._settings.impression_discount)
        shaping = None
        if narrowed is not None or effects or discounts:
            shaping = Shaping(narrowed, effects, self._catalogue.columns, now_ms, discounts)
        return InForce(left_out, effects, shaping, category, request.diversity or 0.0)

    def filling(self, request: RecommendRequest, in_force: InForce, *, let_in: str | None = None) -> Filling:
        """An empty answer that takes only what may be in it; more than is wanted where slots are shared out after."""
        n = request.n
        if in_force.diversity > 0.0:
            n = max(_CANDIDATES_FACTOR * n, _CANDIDATES_MIN)
        left_out, availability = in_force.left_out.all(), self._catalogue.availability
        filling = Filling(n, left_out, availability, in_force.shaping, request.min_relevance, let_in)
        if request.keep:
            filling.notes = Notes(request.n, request.min_relevance)
        return filling

    def keeping_out(self, item_id: str, in_force: InForce) -> list[str]:
        """Every rule that keeps an item out, in the order in which they act."""
        found = in_force.left_out.rules_of(item_id)
        unavailable = self._catalogue.availability.rule(item_id)
        if unavailable is not None:
            found.append(unavailable)
        if in_force.shaping is not None:
            if in_force.shaping.narrowed is not None and not in_force.shaping.narrowed.passes(item_id):
                found.append(FILTER)
            found += in_force.effects.blocking_rules(item_id, self._catalogue.columns)
        return found

    def place(self, request: RecommendRequest, in_force: InForce, filling: Filling) -> dict[int, Pin]:
        """Diversity, then pins; by slot (from 0), the pins that stand there."""
        self._diversify(request.n, in_force, filling)
        return self._pin(request.n, in_force, filling) if in_force.effects.pinning else {}

    def arrange(
        self,
        request: RecommendRequest,
        history: History,
        model: LiveModel | None,
        in_force: InForce,
        filling: Filling,
        now_ms: int,
    ) -> Arranged:
        """Share the slots out: diversity, then pins, then chance or new items. Remembers and counts."""
        pins = self.place(request, in_force, filling)
        propensities = None
        given: dict[int, str] = {}
        drawn = None
        if request.logic is not Logic.RECENT:
            drawn = draw_slots(request, now_ms, n=len(filling.item_ids), fixed=pins, shuffle=self._shuffle)
        if drawn is not None:
            # Chance has one say in an answer: its slots' propensities would otherwise be products of two draws.
            filling.keep(drawn.places)
            propensities = drawn.propensities
        elif self._settings.explore_share > 0.0 and request.n >= _NEW_ITEMS_FROM and request.logic not in _NO_NEW_ITEMS:
            propensities, given = self._explore(request, history, model, filling, pins, now_ms)
        if request.page_view_id is not None:
            place = (request.visitor, request.page_view_id, request.placement)
            self._page_views.show(*place, tuple(filling.item_ids), now_ms)
        rules = self._count(request, in_force, bool(given))
        reasons = self._reasons(in_force, filling, pins, given) if request.explain else []
        exploration = drawn.exploration if drawn is not None else None
        slots = (filling.item_ids, filling.scores, filling.rungs)
        return Arranged(*slots, propensities, rules, reasons, exploration, given)

    def _situation(
        self, request: RecommendRequest, history: History, left_out: Exclusions, category: str | None, now_ms: int
    ) -> Situation:
        segments: frozenset[str] = frozenset()
        if self.rules.asks_segments:
            segments = segments_of(
                history,
                now_ms,
                in_cart=bool(left_out.in_cart),
                bought=bool(left_out.bought),
                named=request.segments,
            )
        return Situation(request.placement, request.item, category, segments)

    def _diversify(self, n: int, in_force: InForce, filling: Filling) -> None:
        if in_force.diversity > 0.0 and len(filling.item_ids) > 1:
            facts = self._catalogue.facts
            places = [facts.items.row(item_id) for item_id in filling.item_ids]
            codes = [NO_CODE if place is None else int(facts.category[place]) for place in places]
            filling.share_out(n, codes, in_force.diversity)
        elif len(filling.item_ids) > n:
            filling.keep(range(n))

    def _pin(self, n: int, in_force: InForce, filling: Filling) -> dict[int, Pin]:
        """Put the pinned items into their slots; by slot (from 0), those that stand there."""
        allowed = [
            pin
            for pin in in_force.effects.pins(self._catalogue.columns)
            if pin.slot <= n
            and self._catalogue.availability.available(pin.item_id)
            and in_force.left_out.rule(pin.item_id) is None
        ]
        filling.pin({pin.slot - 1: pin.item_id for pin in allowed}, n)
        by_id = {pin.item_id: pin for pin in allowed}
        return {slot: by_id[item_id] for slot, item_id in enumerate(filling.item_ids) if item_id in by_id}

    def _explore(
        self,
        request: RecommendRequest,
        history: History,
        model: LiveModel | None,
        filling: Filling,
        pins: dict[int, Pin],
        now_ms: int,
    ) -> tuple[list[float | None] | None, dict[int, str]]:
        pool = self._pool
        pool.refresh(self._catalogue, model, now_ms)
        if not len(pool) or len(filling.item_ids) < request.n:
            return None, {}
        before = filling.item_ids
        open_slots = [slot for slot in range(request.n // 2, request.n) if slot not in pins]
        catalogue = self._catalogue
        slots = with_new_items(
            before,
            open_slots,
            # Within: most answers give no slot away.
            lambda: pool.candidates(
                catalogue, catalogue.places_of(history, request.item), now_ms, filling.passes, before
            ),
            chance=slot_chance(request.n, len(open_slots), share=self._settings.explore_share),
            seed=seed_of(request.visitor, request.placement, request.page_view_id or "", now_ms),
        )
        given = {slot: slots.item_ids[slot] for slot in open_slots if slots.item_ids[slot] != before[slot]}
        for slot, item_id in given.items():
            pool.show(self._catalogue.facts.items.row(item_id))
            filling.replace(slot, item_id)
        return slots.propensities, given

    def _count(self, request: RecommendRequest, in_force: InForce, new_items: bool) -> tuple[str, ...]:
        names = in_force.left_out.rules()
        if self._catalogue.availability:
            names.append("availability")
        if in_force.shaping is not None:
            asked = ((FILTER, request.filters), (BOOSTER, request.boosters), (WORN, request.worn))
            names += [name for name, wanted in asked if wanted]
            if in_force.shaping.discounts:
                names.append(SHOWN)
            names += [rule.rule_id for rule in in_force.effects.rules]
        if in_force.diversity > 0.0:
            names.append(DIVERSITY)
        if new_items:
            names.append(NEW_ITEMS)
        for name in names:
            counter = self._counters.get(name)
            if counter is None:
                counter = self._counters[name] = _applied.labels(name).inc
            counter()
        return tuple(names)

    def _reasons(
        self, in_force: InForce, filling: Filling, pins: dict[int, Pin], given: Mapping[int, str]
    ) -> list[tuple[Reason, ...]]:
        found: list[tuple[Reason, ...]] = []
        for slot, item_id in enumerate(filling.item_ids):
            reasons = [
                Reason("boosted" if rule.weight > 1 else "buried", rule=rule.rule_id)
                for rule in in_force.effects.weighing_rules(item_id, self._catalogue.columns)
            ]
            if slot in pins:
                reasons.append(Reason("pinned", rule=pins[slot].rule_id))
            if slot in given:
                reasons.append(Reason("new", rule=NEW_ITEMS))
            found.append(tuple(reasons))
        return found


def propensities_of(arranged: Arranged) -> Sequence[float | None]:
    """One for each slot."""
    return arranged.propensities if arranged.propensities is not None else (None,) * len(arranged.item_ids)
