"""Compile every kernel once, or load it from numba's cache, before the first answer needs it."""

from recommender import scan
from recommender.models import popularity, transitions


def warm_up() -> None:
    """Idempotent; milliseconds when the cache is there, seconds when it is not."""
    for module in (scan, popularity, transitions):
        module.compile_kernels()
