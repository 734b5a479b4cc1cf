"""Compile every numba kernel into its cache, so that no answer waits for a compiler."""

from recommender import (
    answered_again,
    blend,
    diversity,
    fold_in,
    incremental,
    new_items,
    quantized,
    scan,
    served_blend,
    served_ranker,
)
from recommender.models import (
    bought_together,
    buy_again,
    content,
    ials,
    knn_shares,
    own_session,
    popularity,
    session_knn,
    transitions,
)


def compile_all() -> None:
    """Call every kernel once with the types it is used with; from a warm cache this takes a fraction of a second.

    `make setup` calls it to fill the cache, a server before its first request to load from it. Kernels are compiled on
    first call and not by explicit signatures, for those would compile at import when the cache is cold.
    """
    models = (popularity, transitions, session_knn, ials, own_session, bought_together, buy_again, content, knn_shares)
    served = (quantized, served_blend, served_ranker)
    for module in (scan, fold_in, *models, diversity, incremental, blend, new_items, *served, answered_again):
        module.compile_kernels()


if __name__ == "__main__":
    compile_all()
