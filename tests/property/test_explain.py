"""What each event adds to a score sums to the score."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.explain import contributions
from recommender.fold_in import fold_in_exactly, prefix_weights
from recommender.models.ials import Ials, IalsParameters
from recommender.models.protocol import Prefix


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 19), st.sampled_from([1, 2, 3, 4, 5])), min_size=1, max_size=10),
)
def test_contributions_sum_to_the_exact_score(seed: int, events: list[tuple[int, int]]) -> None:
    vectors = np.random.default_rng(seed).normal(size=(20, 6)).astype(np.float32)
    ials = Ials(IalsParameters(factors=6, alpha=20.0, regularization=1.0), vectors)
    rows, kinds = (np.array(column) for column in zip(*events, strict=True))
    prefix = Prefix(rows.astype(np.int32), kinds.astype(np.uint8), np.ones(len(events), np.int64))
    weights = prefix_weights(prefix, ials.parameters.decay)
    counted = weights > 0
    visitor = fold_in_exactly(ials.factors.gram, vectors, prefix.rows[counted], weights[counted], alpha=20.0)

    shares = contributions(ials, prefix, np.arange(20, dtype=np.int32))

    assert shares.shape == (20, len(events))
    np.testing.assert_allclose(shares.sum(axis=1), vectors @ visitor, rtol=1e-4, atol=1e-5)
    assert (shares[:, ~counted] == 0).all()
