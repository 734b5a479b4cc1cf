"""Solve one visitor's (or one item's) vector against fixed factors: the half step of iALS, alone, in microseconds.

The loss is that of Hu, Koren and Volinsky (ICDM 2008): confidence `1 + alpha * weight`, preference 1 for what was
seen and 0 for all else. The vector solves `(G + sum a_i y_i y_i') x = sum b_i y_i`, with `a_i = alpha * weight_i`,
`b_i = 1 + alpha * weight_i` and G the Gram matrix of all factors plus the regularization.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import KIND_WEIGHT, Prefix, Rows, plain

STEPS_DEFAULT = 8
"""Conjugate gradient steps; the top 10 of 8 steps are those of the exact solve."""

Vector = NDArray[np.float32]
_FAST = {"reassoc", "contract", "nsz", "arcp"}


class FoldInSettings(NamedTuple):
    """What of `IalsParameters` a visitor's vector takes."""

    last: int
    decay: np.float32
    alpha: np.float32
    steps: int


def fold_in(
    gram: NDArray[np.float32],
    factors: NDArray[np.float32],
    rows: Rows,
    weights: NDArray[np.float32],
    *,
    alpha: float,
    steps: int = STEPS_DEFAULT,
    start: Vector | None = None,
) -> Vector:
    """The vector of one who has seen `rows` with `weights`, by conjugate gradient.

    Args:
        gram: shape (f, f), `factors' factors + regularization * I`.
        factors: shape (n, f), C-contiguous; not modified.
        rows: shape (m,), each in [0, n); a row may stand there twice. Empty: the answer is all zeros.
        weights: shape (m,), each >= 0.
        alpha: > 0.
        steps: >= 1.
        start: shape (f,), where to begin, for a vector that changed little; zeros when None.
    """
    curvature = weights * np.float32(alpha)
    vector = np.zeros(len(gram), np.float32) if start is None else start.astype(np.float32, copy=True)
    if len(rows) == 0:
        return np.zeros(len(gram), np.float32)
    solve(gram, factors, plain(rows, np.int32), curvature, curvature + np.float32(1.0), vector, steps)
    return vector


def fold_in_exactly(
    gram: NDArray[np.float32],
    factors: NDArray[np.float32],
    rows: Rows,
    weights: NDArray[np.float32],
    *,
    alpha: float,
) -> Vector:
    """The same by a direct solve in float64: the reference that tests hold `fold_in` against."""
    curvature = alpha * weights.astype(np.float64)
    seen = factors[rows].astype(np.float64)
    left = gram.astype(np.float64) + seen.T @ (curvature[:, None] * seen)
    return np.linalg.solve(left, seen.T @ (1.0 + curvature)).astype(np.float32)


def prefix_weights(prefix: Prefix, decay: float) -> NDArray[np.float32]:
    """Weight per event: that of its kind times `exp(-decay * distance)`, distance 0 for the newest."""
    distance = np.arange(len(prefix.rows) - 1, -1, -1, dtype=np.float32)
    weights: NDArray[np.float32] = KIND_WEIGHT[prefix.kinds] * np.exp(np.float32(-decay) * distance)
    return weights


@njit(cache=True, nogil=True)
def fold_in_prefix(gram, factors, items, prefix, kinds, settings):  # type: ignore[no-untyped-def]
    """`prefix_weights` and `fold_in` for kernels: the vector of one who did `prefix`.

    Args:
        gram, factors: as `fold_in` takes them.
        items: rows from here on have no vector.
        prefix, kinds: shape (m,), oldest first.
        settings: `FoldInSettings`.
    """
    first = max(0, len(prefix) - settings.last)
    size = len(prefix) - first
    rows = np.empty(size, np.int32)
    curvature = np.empty(size, np.float32)
    known = 0
    for place in range(first, len(prefix)):
        distance = np.float32(len(prefix) - 1 - place)
        weight = KIND_WEIGHT[kinds[place]] * np.exp(-settings.decay * distance)
        if weight > 0.0 and prefix[place] < items:
            rows[known], curvature[known] = prefix[place], weight * settings.alpha
            known += 1
    vector = np.zeros(len(gram), np.float32)
    if known > 0:
        rows, curvature = rows[:known], curvature[:known]
        solve(gram, factors, rows, curvature, curvature + np.float32(1.0), vector, settings.steps)
    return vector


@njit(cache=True, nogil=True, fastmath=_FAST)
def solve(gram, factors, rows, curvature, target, vector, steps):  # type: ignore[no-untyped-def]
    """Conjugate gradient on `(gram + sum curvature_i y_i y_i') x = sum target_i y_i`, from and into `vector`.

    Stops early when the residual has vanished in float32.
    """
    size = len(vector)
    residual = np.zeros(size, np.float32)
    product = np.empty(size, np.float32)
    scale = np.float32(0.0)
    _multiply(gram, factors, rows, curvature, vector, product)
    for i in range(len(rows)):
        for f in range(size):
            residual[f] += target[i] * factors[rows[i], f]
    for f in range(size):
        scale += residual[f] * residual[f]
        residual[f] -= product[f]
    direction = residual.copy()
    square = np.float32(0.0)
    for f in range(size):
        square += residual[f] * residual[f]
    for _ in range(steps):
        if square <= np.float32(1e-12) * scale:
            break
        _multiply(gram, factors, rows, curvature, direction, product)
        along = np.float32(0.0)
        for f in range(size):
            along += direction[f] * product[f]
        if not along > 0.0:
            break
        step = square / along
        before = square
        square = np.float32(0.0)
        for f in range(size):
            vector[f] += step * direction[f]
            residual[f] -= step * product[f]
            square += residual[f] * residual[f]
        turn = square / before
        for f in range(size):
            direction[f] = residual[f] + turn * direction[f]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _multiply(gram, factors, rows, curvature, vector, out):  # type: ignore[no-untyped-def]
    size = len(vector)
    for f in range(size):
        total = np.float32(0.0)
        for g in range(size):
            total += gram[f, g] * vector[g]
        out[f] = total
    for i in range(len(rows)):
        row = rows[i]
        along = np.float32(0.0)
        for f in range(size):
            along += factors[row, f] * vector[f]
        along *= curvature[i]
        for f in range(size):
            out[f] += along * factors[row, f]


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    factors = np.eye(2, dtype=np.float32)
    fold_in(factors, factors, np.zeros(1, np.int32), np.ones(1, np.float32), alpha=1.0)
