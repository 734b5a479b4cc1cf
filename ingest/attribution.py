"""Whether an event's `recommendation_id` counts, and for what: decided once, by the collector, for every reader."""

from collections.abc import Iterable

from prometheus_client import Counter

from ingest.events import Attribution, Item
from ingest.recommendation_token import Token, TokenCodec, TokenRefusedError, name_code

FRESH_MS = 86_400_000
"""How long after it was served an answer may still be shown and clicked."""
INTERLEAVED = "interleaved"
"""In place of a variant's name, for what was drafted from two variants' lists."""
OTHER = "(other)"
"""A placement or variant whose name this process does not know."""
NAMES_MAX = 10_000

_read = Counter(
    "afterclick_ingest_recommendation_tokens_total",
    "Events with a recommendation_id: counted, or why it was ignored (forged, expired, foreign)",
    ["verdict"],
)


class Names:
    """Placements and variants by their codes; bounded, and names once known stay known."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: dict[int, str] = {0: ""}
        self.learn(names)

    def learn(self, names: Iterable[str]) -> None:
        """Know these too."""
        for name in names:
            if len(self._names) < NAMES_MAX:
                self._names.setdefault(name_code(name), name)

    def of(self, code: int) -> str:
        """The name, or `OTHER`."""
        return self._names.get(code, OTHER)


class Attributor:
    """Reads tokens for the collector."""

    def __init__(self, codec: TokenCodec, names: Names) -> None:
        self._codec = codec
        self._names = names

    def attribute(
        self, recommendation_id: str, items: tuple[Item, ...], *, visitor_key: bytes, time_ms: int
    ) -> Attribution | None:
        """What the event's items count for; None when they count for nothing (then it is counted why).

        Args:
            visitor_key: 16 bytes, of the browser that sent the event.
            time_ms: of the event, corrected.
        """
        try:
            token = self._codec.read(recommendation_id)
        except TokenRefusedError:
            _read.labels("forged").inc()
            return None
        if not -FRESH_MS <= time_ms - token.served_ms <= FRESH_MS:
            _read.labels("expired").inc()
            return None
        foreign = tuple(place for place, item in enumerate(items) if not token.holds(item.item_id))
        if not token.is_of(visitor_key) or len(foreign) == len(items):
            _read.labels("foreign").inc()
            return None
        _read.labels("counted").inc()
        return Attribution(
            self._names.of(token.placement_code),
            token.served_ms,
            self._variant(token, [item.item_id for place, item in enumerate(items) if place not in foreign]),
            token.rules,
            token.model_ms,
            foreign,
        )

    def _variant(self, token: Token, item_ids: list[str]) -> str:
        """The variant whose list the items came from; `experiment/interleaved` for items of both."""
        first = self._names.of(token.variant_code)
        teams = {token.team(item_id) for item_id in item_ids}
        if not token.teams:
            return first
        if len(teams) == 1:
            return self._names.of(token.other_variant_code) if teams == {1} else first
        return f"{first.partition('/')[0]}/{INTERLEAVED}"
