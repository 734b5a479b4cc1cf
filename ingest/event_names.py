"""Suggest the event name that an unknown one was meant to be."""

from itertools import pairwise

from ingest.events import ALIASES, EVENT_NAMES

_NAME_CHARACTERS_MAX = 48
_SIMILARITY_MIN = 0.45


def closest_name(name: str) -> str | None:
    """The known name (ours or an alias) most like `name`, or None when none is.

    Dice's coefficient over pairs of letters: 20 µs a call where `difflib` took 1 ms, and a flood of unknown names must
    not stop the collector.
    """
    pairs = _pairs(name[:_NAME_CHARACTERS_MAX])
    best, best_likeness = None, _SIMILARITY_MIN
    for known, known_pairs in _KNOWN:
        likeness = 2 * len(pairs & known_pairs) / (len(pairs) + len(known_pairs) or 1)
        if likeness > best_likeness:
            best, best_likeness = known, likeness
    return best


def _pairs(name: str) -> frozenset[str]:
    letters = "".join(character for character in name.lower() if character.isalnum())
    return frozenset(first + second for first, second in pairwise(letters))


_KNOWN = tuple((name, _pairs(name)) for name in (*EVENT_NAMES, *ALIASES))
