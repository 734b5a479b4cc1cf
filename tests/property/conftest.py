"""Hypothesis on a noisy machine: a slow example is no failure, and every run draws the same examples."""

from hypothesis import settings

# A deadline would fail the example that happens to load a kernel from its cache, or to meet a busy core.
settings.register_profile("afterclick", deadline=None, derandomize=True)
settings.load_profile("afterclick")
