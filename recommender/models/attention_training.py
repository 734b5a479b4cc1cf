"""Train the attention net: Adam on the softmax over the catalogue, gradients by hand, one core.

Large catalogues are trained against a sample of items drawn by the root of their counts, the bias of the draw taken out
of the logits (Bengio and Senécal, 2008); else a batch would cost the whole catalogue.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.attention import Attention, AttentionParameters, AttentionWeights
from recommender.models.protocol import KIND_WEIGHT, Events

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


def attention_of(events: Events, items: int, parameters: AttentionParameters) -> Attention:
    """The net after `events`; one that knows nothing where no session has a second event."""
    return Attention(train_attention(examples_of(events, last=parameters.last), items=items, parameters=parameters))


class Examples(NamedTuple):
    """`prefixes`: shape (n, last), newest at the end, -1 before the first; `labels`: shape (n,)."""

    prefixes: Rows
    labels: Rows


def examples_of(events: Events, *, last: int) -> Examples:
    """Every place of every session from its second on, session after session. Kinds without weight are left out."""
    kept = KIND_WEIGHT[events.kinds] > 0
    order = np.argsort(events.sessions[kept], kind="stable")
    sessions, rows = events.sessions[kept][order], events.rows[kept][order]
    begins = np.flatnonzero(np.append(True, sessions[1:] != sessions[:-1])) if len(rows) else np.empty(0, np.int64)
    place = np.arange(len(rows)) - np.repeat(begins, np.diff(np.append(begins, len(rows))))
    asked = np.flatnonzero(place >= 1)
    back = np.arange(last, 0, -1)
    source = asked[:, None] - back
    prefixes = np.where(back <= place[asked, None], rows[np.maximum(source, 0)], -1).astype(np.int32)
    return Examples(prefixes, rows[asked].astype(np.int32))


def train_attention(examples: Examples, *, items: int, parameters: AttentionParameters) -> AttentionWeights:
    """The trained weights; the same examples and parameters give the same, bit by bit, on the same machine.

    Args:
        examples: not modified.
        items: how many rows there are.
        parameters: of the net.
    """
    random = np.random.default_rng(parameters.seed)
    net = _Net(items, parameters, random)
    draw = _Draw(examples.labels, items, parameters.sampled_max, random)
    epochs = max(2, min(parameters.epochs, parameters.examples_seen_max // max(1, len(examples.labels))))
    for epoch in range(epochs):
        for batch in _batches(len(examples.labels), parameters.batch, random):
            rate = parameters.learning_rate * (0.1 if epoch >= epochs - 2 else 1.0)
            net.learn(examples.prefixes[batch], examples.labels[batch], draw, rate)
    return net.weights()


def _batches(count: int, size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    order = random.permutation(count)
    for begin in range(0, count, size):
        yield order[begin : begin + size]


class _Draw:
    """Which columns of the catalogue a batch is scored against, and the logarithm of how often each is drawn."""

    def __init__(self, labels: Rows, items: int, sampled_max: int, random: np.random.Generator) -> None:
        counts = np.bincount(labels, minlength=items).astype(np.float64)
        chance = np.sqrt(counts + 0.25)
        self._cumulative = np.cumsum(chance / chance.sum())
        self._log_expected = np.log(chance / chance.sum() * sampled_max).astype(np.float32)
        self._items, self._sampled_max, self._random = items, sampled_max, random

    def columns(self, labels: Rows) -> tuple[NDArray[np.int64], Floats]:
        if self._items <= self._sampled_max:
            return np.arange(self._items), np.zeros(self._items, np.float32)
        drawn = np.searchsorted(self._cumulative, self._random.random(self._sampled_max)).astype(np.int64)
        columns = np.unique(np.concatenate([np.minimum(drawn, self._items - 1), labels]))
        return columns, np.minimum(self._log_expected[columns], np.float32(0.0))


class _Net:
    """The weights with Adam's two moments of each, and one step of learning."""

    def __init__(self, items: int, parameters: AttentionParameters, random: np.random.Generator) -> None:
        size = parameters.factors
        self._parameters, self._random, self._step = parameters, random, 0

        def drawn(*shape: int, scale: float) -> Floats:
            return random.uniform(-scale, scale, shape).astype(np.float32)

        near = 1.0 / np.sqrt(size)
        self._values = {
            "items": drawn(items, size, scale=near),
            "places": drawn(parameters.last, size, scale=near),
            "query": drawn(size, size, scale=near),
            "from_session": drawn(size, size, scale=near),
            "from_last": drawn(size, size, scale=near),
        }
        self._moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in self._values.items()}

    def weights(self) -> AttentionWeights:
        value = self._values
        items = value["items"] / np.maximum(np.linalg.norm(value["items"], axis=1, keepdims=True), 1e-12)
        return AttentionWeights(
            items.astype(np.float32), value["places"], value["query"], value["from_session"], value["from_last"]
        )

    def learn(self, prefixes: Rows, labels: Rows, draw: _Draw, rate: float) -> None:
        """One step of Adam on a batch."""
        columns, log_expected = draw.columns(labels)
        used, inverse = np.unique(np.concatenate([columns, np.maximum(prefixes, 0).ravel()]), return_inverse=True)
        norms = np.linalg.norm(self._values["items"][used], axis=1, keepdims=True)
        unit = self._values["items"][used] / norms
        answers_at, seen_at = inverse[: len(columns)], inverse[len(columns) :].reshape(prefixes.shape)
        mask = self._mask(prefixes)
        forward = _forward(unit[seen_at] * mask, prefixes >= 0, self._values)
        # From here on the gradient of the mean loss, by cosine.
        logits = forward.point @ unit[answers_at].T
        _softmax_gradient(
            logits, np.searchsorted(columns, labels), log_expected, np.float32(self._parameters.sharpness)
        )
        d_seen, gradients = _backward(forward, logits @ unit[answers_at], self._values)
        d_unit = np.zeros_like(unit)
        d_unit[answers_at] = logits.T @ forward.point
        _scatter(d_unit, seen_at.ravel(), (d_seen * mask).reshape(-1, unit.shape[1]))
        d_items = (d_unit - unit * np.sum(unit * d_unit, axis=1, keepdims=True)) / norms
        self._move({**gradients, "items": d_items}, used, rate)

    def _mask(self, prefixes: Rows) -> Floats:
        """Shape (batch, last, f): 0 where nothing stands or dropout blinds, else what makes up for the blinded."""
        dropout, size = self._parameters.dropout, self._parameters.factors
        kept = self._random.random((*prefixes.shape, size), np.float32) >= dropout
        mask: Floats = np.where((prefixes >= 0)[:, :, None], kept / np.float32(1 - dropout), np.float32(0))
        return mask

    def _move(self, gradients: dict[str, Floats], used: NDArray[np.int64], rate: float) -> None:
        self._step += 1
        # The bias of both moments' start, taken into the rate.
        rate *= float(np.sqrt(1 - _BETA2**self._step) / (1 - _BETA1**self._step))
        for name, gradient in gradients.items():
            rows = used if name == "items" else np.arange(len(gradient))
            _adam(self._values[name], *self._moments[name], rows, gradient, np.float32(rate))


class _Forward(NamedTuple):
    """What a pass leaves for the way back; shapes (batch, last, f), (batch, last) and (batch, f)."""

    seen: Floats
    keys: Floats
    asked: Floats
    attention: Floats
    session: Floats
    point: Floats
    length: Floats


def _forward(seen: Floats, known: NDArray[np.bool_], values: dict[str, Floats]) -> _Forward:
    """The last event asks, the events answer, both together point at what comes next."""
    last = seen[:, -1]
    keys = seen + values["places"]
    asked = last @ values["query"]
    attention = np.where(known, np.einsum("bd,bld->bl", asked, keys), np.float32(-1e9))
    attention = np.exp(attention - attention.max(axis=1, keepdims=True))
    attention /= attention.sum(axis=1, keepdims=True)
    session = np.einsum("bl,bld->bd", attention, seen)
    point = session @ values["from_session"] + last @ values["from_last"]
    length = np.maximum(np.linalg.norm(point, axis=1, keepdims=True), np.float32(1e-6))
    return _Forward(seen, keys, asked, attention, session, point / length, length)


def _backward(forward: _Forward, d_point: Floats, values: dict[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
    """The gradient by what was seen, shape (batch, last, f), and by each weight, given that by the unit point."""
    seen, keys, asked, attention, session, point, length = forward
    last = seen[:, -1]
    d_point = (d_point - point * np.sum(point * d_point, axis=1, keepdims=True)) / length
    d_session, d_last = d_point @ values["from_session"].T, d_point @ values["from_last"].T
    d_attention = np.einsum("bd,bld->bl", d_session, seen)
    d_score = attention * (d_attention - np.sum(attention * d_attention, axis=1, keepdims=True))
    d_asked = np.einsum("bl,bld->bd", d_score, keys)
    d_keys = d_score[:, :, None] * asked[:, None]
    d_seen = attention[:, :, None] * d_session[:, None] + d_keys
    d_seen[:, -1] += d_last + d_asked @ values["query"].T
    return d_seen, {
        "places": d_keys.sum(axis=0),
        "query": last.T @ d_asked,
        "from_session": session.T @ d_point,
        "from_last": last.T @ d_point,
    }


@njit(cache=True, nogil=True, fastmath=_FAST)
def _softmax_gradient(logits, targets, log_expected, sharpness):  # type: ignore[no-untyped-def]
    """Cosines to the gradient of the mean loss by each cosine, in place."""
    batch, columns = logits.shape
    for i in range(batch):
        largest = np.float32(-1e30)
        for j in range(columns):
            logits[i, j] = logits[i, j] * sharpness - log_expected[j]
            largest = max(largest, logits[i, j])
        total = np.float32(0.0)
        for j in range(columns):
            logits[i, j] = np.exp(logits[i, j] - largest)
            total += logits[i, j]
        scale = sharpness / (total * np.float32(batch))
        for j in range(columns):
            logits[i, j] *= scale
        logits[i, targets[i]] -= sharpness / np.float32(batch)


@njit(cache=True, nogil=True)
def _scatter(into, rows, values):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        for f in range(values.shape[1]):
            into[rows[i], f] += values[i, f]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _adam(values, first, second, rows, gradients, rate):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        row = rows[i]
        for f in range(values.shape[1]):
            gradient = gradients[i, f]
            first[row, f] = np.float32(_BETA1) * first[row, f] + np.float32(1 - _BETA1) * gradient
            second[row, f] = np.float32(_BETA2) * second[row, f] + np.float32(1 - _BETA2) * gradient * gradient
            values[row, f] -= rate * first[row, f] / (np.sqrt(second[row, f]) + np.float32(_EPSILON))
