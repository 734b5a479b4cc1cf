"""An answer kept whole: every list with what each model said of its items, and what the policy did with it.

Arrays of numbers are bytes of little-endian float32 (the margins float64), which JSON shows in base64.
"""

import msgspec

from recommender.requests import Exploration, MinRelevance, Rung

KEPT_BELOW = 30
"""Candidates kept that come next after those of the list."""


class KeptEvents(msgspec.Struct, frozen=True):
    """What the visitor did, oldest first, as the lists were asked with it; numbers of kinds as in the feature store."""

    item_ids: tuple[str, ...]
    kinds: tuple[int, ...]
    times_ms: tuple[int, ...]


class KeptModels(msgspec.Struct, frozen=True):
    """What the ranker's or the blend's list was made of.

    Attributes:
        item_ids: the candidates, in the order that decides between equals.
        n: how long the list was to be.
        scores: shape (len(LISTS), candidates), what each model said; 0: nothing.
        weights: shape (len(LISTS),), what each model counts in the blend.
        margins: shape (candidates,), float64, the trees' log-odds; NaN for what was none of the ranker's candidates.
            Empty: the blend made the list.
        features: shape (len(FEATURES), candidates), likewise.
    """

    item_ids: tuple[str, ...]
    n: int
    scores: bytes
    weights: bytes
    margins: bytes = b""
    features: bytes = b""


class KeptList(msgspec.Struct, frozen=True, omit_defaults=True):
    """One list that the answer was filled from.

    Attributes:
        wanted: how many items were still missing.
        item_ids, scores: the list, best first; empty where `models` says what it was made of.
        weights: what each score was multiplied by (boosts, what was shown before); by candidate where there are
            `models`. Empty: by nothing.
    """

    rung: Rung
    wanted: int
    item_ids: tuple[str, ...] = ()
    scores: bytes = b""
    weights: bytes = b""
    models: KeptModels | None = None


class KeptAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `recommender.answered_again` makes the answer of once more.

    Attributes:
        n: slots.
        min_relevance: as asked.
        seen: what the visitor did.
        lists: in the order in which they filled it.
        diversity, categories: how far the slots were shared out among the categories, and by item its category's code.
        pins, new_items: item ids by slot (from 0), where a rule or chance put them.
        exploration: the slots whose order chance drew.
    """

    n: int
    min_relevance: MinRelevance
    seen: KeptEvents
    lists: tuple[KeptList, ...]
    diversity: float = 0.0
    categories: tuple[int, ...] = ()
    pins: dict[int, str] = {}
    exploration: Exploration | None = None
    new_items: dict[int, str] = {}
