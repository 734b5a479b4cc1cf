"""The attention net: its gradients are those of its loss, what is served is what was trained, and it learns."""

import numpy as np
from numpy.typing import NDArray

from recommender.models.attention import Attention, AttentionParameters
from recommender.models.attention_training import _backward, _forward, attention_of, examples_of
from recommender.models.protocol import Events, Prefix

QUICK = AttentionParameters(factors=16, epochs=12, batch=64, dropout=0.1)


def ring(*, sessions: int = 120, items: int = 12) -> Events:
    """Every item is followed by the next of a ring."""
    begins = np.random.default_rng(1).integers(0, items, sessions)
    rows = (begins[:, None] + np.arange(5)) % items
    count = 5 * sessions
    return Events(
        np.repeat(np.arange(sessions), 5),
        rows.ravel().astype(np.int32),
        np.ones(count, np.uint8),
        np.arange(1, count + 1) * 1_000,
    )


def prefix(*rows: int) -> Prefix:
    return Prefix(np.array(rows, np.int32), np.ones(len(rows), np.uint8), np.zeros(len(rows), np.int64))


def test_examples_are_every_place_with_what_came_before_it() -> None:
    rows = np.array([4, 7, 5, 8, 6], np.int32)
    events = Events(np.array([0, 1, 0, 1, 0]), rows, np.ones(5, np.uint8), np.arange(5))

    found = examples_of(events, last=2)

    assert found.prefixes.tolist() == [[-1, 4], [4, 5], [-1, 7]]
    assert found.labels.tolist() == [5, 6, 8]


def test_it_learns_what_follows_what() -> None:
    net = attention_of(ring(), 12, QUICK)

    blocked = np.zeros(12, np.bool_)
    blocked[[2, 3, 4]] = True

    assert net.scores(prefix(2, 3, 4), 1, blocked).rows.tolist() == [5]


def test_the_same_events_give_the_same_net() -> None:
    one, two = (attention_of(ring(), 12, QUICK) for _ in range(2))

    np.testing.assert_array_equal(one.weights.items, two.weights.items)


def test_a_sampled_catalogue_is_learnt_too() -> None:
    sampled = AttentionParameters(factors=16, epochs=30, batch=64, dropout=0.0, sampled_max=6)
    net = attention_of(ring(), 12, sampled)

    assert 5 in net.scores(prefix(3, 4), 4).rows.tolist()


def test_what_is_served_is_what_was_trained() -> None:
    net = attention_of(ring(), 12, QUICK)
    rows = np.array([1, 2, 3], np.int32)
    weights = net.weights._asdict()
    seen = np.zeros((1, QUICK.last, 16), np.float32)
    seen[0, -3:] = weights["items"][rows]
    known = np.zeros((1, QUICK.last), np.bool_)
    known[0, -3:] = True

    forward = _forward(seen, known, weights)

    np.testing.assert_allclose(net.vector(prefix(1, 2, 3)), forward.point[0], atol=1e-5)


def test_gradients_are_those_of_the_loss() -> None:
    random = np.random.default_rng(2)
    values = {
        name: random.normal(size=shape)
        for name, shape in (("places", (3, 4)), ("query", (4, 4)), ("from_session", (4, 4)), ("from_last", (4, 4)))
    }
    seen, known = random.normal(size=(2, 3, 4)), np.array([[False, True, True], [True, True, True]])
    seen[~known] = 0.0
    towards = random.normal(size=(2, 4))

    def loss() -> float:
        return float((_forward(seen, known, values).point * towards).sum())  # type: ignore[arg-type]

    d_seen, gradients = _backward(_forward(seen, known, values), towards, values)  # type: ignore[arg-type]

    def slope(array: NDArray[np.float64], place: tuple[int, ...]) -> float:
        before = array[place]
        array[place] = before + 1e-6
        above = loss()
        array[place] = before - 1e-6
        below = loss()
        array[place] = before
        return (above - below) / 2e-6

    for name, gradient in gradients.items():
        for place in np.ndindex(gradient.shape):
            np.testing.assert_allclose(gradient[place], slope(values[name], place), atol=1e-5)
    for place in np.argwhere(known):
        for f in range(4):
            at = (int(place[0]), int(place[1]), f)
            np.testing.assert_allclose(d_seen[at], slope(seen, at), atol=1e-5)


def test_nobody_known_points_nowhere() -> None:
    net = attention_of(ring(), 12, QUICK)

    assert len(net.scores(prefix(99), 3).rows) == 0
    assert isinstance(net, Attention)
