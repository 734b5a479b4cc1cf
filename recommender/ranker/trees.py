"""Boosted trees of at most eight leaves as flat arrays, walked for all candidates at once.

Every tree is a byte per candidate: each split that fails takes the leaves on its left away, and the lowest bit left is
the leaf (QuickScorer, Lucchese et al., SIGIR 2015). No branch depends on the data, so the compiler makes vectors of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.errors import RankerRefusedError
from recommender.ranker.features import FEATURES

LEAVES_MAX = 8
_SPLITS = LEAVES_MAX - 1
_ALL = np.uint8(255)


class Trees(NamedTuple):
    """Each array's first axis is the tree; splits and leaves that a tree does not have change nothing.

    Attributes:
        features: shape (t, 7), int16, the row of `FEATURES` a split looks at.
        thresholds: shape (t, 7), float32; a value above goes right. Infinite where there is no split.
        lefts: shape (t, 7), uint8, the leaves on the split's left as bits.
        spans: shape (t, 7), uint8, all leaves below the split.
        leaves: shape (t, 8), float64, what a leaf adds, from left to right.
        counts: shape (t, 8), float64, how many rows of the training ended in it.
    """

    features: NDArray[np.int16]
    thresholds: NDArray[np.float32]
    lefts: NDArray[np.uint8]
    spans: NDArray[np.uint8]
    leaves: NDArray[np.float64]
    counts: NDArray[np.float64]


NO_TREES = Trees(
    np.zeros((0, _SPLITS), np.int16),
    np.zeros((0, _SPLITS), np.float32),
    np.zeros((0, _SPLITS), np.uint8),
    np.zeros((0, _SPLITS), np.uint8),
    np.zeros((0, LEAVES_MAX), np.float64),
    np.zeros((0, LEAVES_MAX), np.float64),
)
"""Of a ranker that has not been fitted: it knows its candidates, and ranks all alike."""


def score(trees: Trees, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shape (c,): the sum of the leaves that each column of `features`, shape (len(FEATURES), c), ends in."""
    scores: NDArray[np.float64] = scored(*trees[:3], trees.leaves, LOWEST, features)
    return scores


def from_lightgbm(dump: Mapping[str, Any]) -> Trees:
    """The trees of a booster's `dump_model()`, fitted on `FEATURES` without missing or categorical values.

    Raises:
        RankerRefusedError: a tree has more than `LEAVES_MAX` leaves, or a split of another kind.
    """
    count = len(dump["tree_info"])
    trees = Trees(
        np.zeros((count, _SPLITS), np.int16),
        np.full((count, _SPLITS), np.inf, np.float32),
        np.zeros((count, _SPLITS), np.uint8),
        np.zeros((count, _SPLITS), np.uint8),
        np.zeros((count, LEAVES_MAX), np.float64),
        np.zeros((count, LEAVES_MAX), np.float64),
    )
    for number, tree in enumerate(dump["tree_info"]):
        if tree["num_leaves"] > LEAVES_MAX:
            raise RankerRefusedError(f"tree {number}: wanted at most {LEAVES_MAX} leaves; got {tree['num_leaves']}")
        _take(trees, number, tree["tree_structure"], 0, 0)
    return trees


def to_arrays(trees: Trees) -> dict[str, NDArray[Any]]:
    """The trees and the names of their features, as a snapshot or a file holds them."""
    names = np.frombuffer("\n".join(FEATURES).encode(), np.uint8)
    return {**trees._asdict(), "names": names.copy()}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Trees:
    """The inverse of `to_arrays`.

    Raises:
        RankerRefusedError: it was made for other features, or an array is missing or of another shape.
    """
    missing = {*Trees._fields, "names"} - set(arrays)
    if missing:
        raise RankerRefusedError(f"trees: wanted the arrays of a ranker; {', '.join(sorted(missing))} missing")
    if bytes(arrays["names"]).decode(errors="replace").split("\n") != list(FEATURES):
        raise RankerRefusedError(
            "trees: wanted trees fitted on this version's features; got others; "
            "the next refit makes new ones, and the shipped ones serve until then"
        )
    trees = Trees(*(np.array(arrays[name]) for name in Trees._fields))
    widths = (_SPLITS, _SPLITS, _SPLITS, _SPLITS, LEAVES_MAX, LEAVES_MAX)
    for name, width in zip(Trees._fields, widths, strict=True):
        if arrays[name].shape != (len(trees.leaves), width):
            raise RankerRefusedError(f"trees: wanted `{name}` of width {width}; got shape {arrays[name].shape}")
    if len(trees.features) and not 0 <= int(trees.features.min()) <= int(trees.features.max()) < len(FEATURES):
        raise RankerRefusedError("trees: wanted splits on known features; got a number beyond them")
    return trees


def read_trees(path: Path) -> Trees:
    """The trees of a file that `write_trees` made.

    Raises:
        RankerRefusedError: it cannot be read, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return from_arrays(dict(arrays))
    except (OSError, ValueError, BadZipFile) as error:
        raise RankerRefusedError(f"trees {path.name}: wanted a file of trees; got {error}") from error


def write_trees(path: Path, trees: Trees) -> None:
    """Compressed; the same trees make the same file."""
    with path.open("wb") as file:
        np.savez_compressed(file, **to_arrays(trees))  # type: ignore[arg-type]


def default_trees() -> Trees:
    """What a new shop begins with: fitted on other shops' clicks, see `benchmarks/make_default_ranker.py`."""
    return read_trees(Path(__file__).with_name("default_trees.npz"))


def _take(trees: Trees, number: int, node: Mapping[str, Any], splits: int, leaf: int) -> tuple[int, int]:
    """Write `node` and all below it; how many splits and leaves there are now."""
    if "split_feature" not in node:
        trees.leaves[number, leaf] = node["leaf_value"]
        trees.counts[number, leaf] = node.get("leaf_count", 1)
        return splits, leaf + 1
    if node["decision_type"] != "<=" or node["missing_type"] != "None":
        raise RankerRefusedError(
            f"tree {number}: wanted splits `<=` without missing values; got {node['decision_type']}"
        )
    split = splits
    splits, middle = _take(trees, number, node["left_child"], splits + 1, leaf)
    splits, end = _take(trees, number, node["right_child"], splits, middle)
    trees.features[number, split] = node["split_feature"]
    trees.thresholds[number, split] = _below(node["threshold"])
    trees.lefts[number, split] = _bits(leaf, middle)
    trees.spans[number, split] = _bits(leaf, end)
    return splits, end


def _bits(begin: int, end: int) -> int:
    return (1 << end) - (1 << begin)


def _below(threshold: float) -> np.float32:
    """The largest float32 that is not above `threshold`: every float32 falls on the same side of both."""
    narrow = np.float32(threshold)
    return narrow if float(narrow) <= threshold else np.nextafter(narrow, np.float32(-np.inf))


@njit(cache=True, nogil=True)
def scored(features, thresholds, lefts, leaves, lowest, values):  # type: ignore[no-untyped-def]
    """`score`, for kernels; `lowest` is `LOWEST`."""
    count = values.shape[1]
    totals = np.zeros(count, np.float64)
    left = np.empty(count, np.uint8)
    for tree in range(len(features)):
        left[:] = _ALL
        for split in range(features.shape[1]):
            threshold = thresholds[tree, split]
            if threshold == np.inf:
                continue
            column = values[features[tree, split]]
            kept = np.uint8(~lefts[tree, split])
            for i in range(count):
                left[i] &= kept if column[i] > threshold else _ALL
        of_tree = leaves[tree]
        for i in range(count):
            totals[i] += of_tree[lowest[left[i]]]
    return totals


def _lowest_bits() -> NDArray[np.uint8]:
    lowest = np.array([0, *((value & -value).bit_length() - 1 for value in range(1, 256))], np.uint8)
    lowest.flags.writeable = False
    return lowest


LOWEST = _lowest_bits()
"""Shape (256,): the number of a byte's lowest bit, for `scored`."""
