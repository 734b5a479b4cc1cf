"""Which variant a browser sees: a salted hash, the same on every replica, for ever, whoever is logged in."""

from collections.abc import Sequence
from hashlib import blake2b

from recommender.experiments.definition import Experiment, Variant

HOLDOUT = "holdout"
"""The name under which browsers without suggestions of ours are reported."""

_SCALE = float(1 << 64)


def assigned_variant(experiment: Experiment, visitor_key: bytes) -> str:
    """The variant's name, or `HOLDOUT`.

    Args:
        visitor_key: 16 bytes, of the *browser*: a login does not change what a person sees.
    """
    if in_holdout(visitor_key, share=experiment.holdout):
        return HOLDOUT
    return pick(experiment.variants, _uniform(experiment.id, visitor_key)).name


def in_holdout(visitor_key: bytes, *, share: float) -> bool:
    """Is the browser in the holdout? One salt for all experiments: a browser held out is held out of each."""
    return share > 0 and _uniform(HOLDOUT, visitor_key) < share


def pick(variants: Sequence[Variant], at: float) -> Variant:
    """The variant in whose part of 0 to 1 `at` lies."""
    end = 0.0
    for variant in variants:
        end += variant.share
        if at < end:
            return variant
    return variants[-1]


def _uniform(salt: str, visitor_key: bytes) -> float:
    """0 <= u < 1, evenly over visitors and independently over salts."""
    digest = blake2b(visitor_key, key=salt.encode(), digest_size=8, person=b"afterclick-exp").digest()
    return int.from_bytes(digest, "big") / _SCALE
