"""Compile every room's numerical kernels into their cache."""

import time


def compile_all() -> float:
    """Call each kernel once; returns the seconds it took, a fraction of one from a warm cache."""
    from feature_store.kernels import compile_all as compile_feature_store
    from recommender.kernels import compile_all as compile_recommender

    started_s = time.perf_counter()
    compile_feature_store()
    compile_recommender()
    return time.perf_counter() - started_s
