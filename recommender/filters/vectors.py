"""A tree as a function over columns: one value an item, or a single one where the expression asks no item."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.filters.columns import Columns
from recommender.filters.fields import Kind
from recommender.filters.texts import MISSING_TEXT
from recommender.filters.tree import (
    Among,
    Both,
    Calculate,
    Choice,
    Compare,
    Constant,
    Either,
    Field,
    Match,
    Missing,
    Node,
    Not,
)


class Frame(NamedTuple):
    """What an expression is computed over. `current`: the row of the page's own item, None when there is none."""

    columns: Columns
    current: int | None


Value = Any
"""Numbers as float64 with NaN, texts as codes, truths as bool: shape (rows,), or one of them."""

Compute = Callable[[Frame], Value]

_COMPARED: Mapping[str, Callable[[Value, Value], Value]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CALCULATED: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
_OF_NO_ITEM: Mapping[Kind, Value] = {"number": np.float64(np.nan), "text": MISSING_TEXT, "truth": np.False_}


def computed(node: Node) -> Compute:
    """`node` as a function; call it under `numpy.errstate(all="ignore")`."""
    match node:
        case Constant():
            return _constant(node)
        case Field():
            return _field(node)
        case Missing():
            return _missing(node)
        case Not():
            inner = computed(node.inner)
            return lambda frame: np.logical_not(inner(frame))
        case Both() | Either():
            left, right = computed(node.left), computed(node.right)
            joined = np.logical_and if isinstance(node, Both) else np.logical_or
            return lambda frame: joined(left(frame), right(frame))
        case Compare():
            return _compared(node)
        case Among():
            return _among(node)
        case Match():
            return _matched(node)
        case Calculate():
            return _calculated(node)
        case Choice():
            condition, one, other = computed(node.condition), computed(node.one), computed(node.other)
            return lambda frame: np.where(condition(frame), one(frame), other(frame))
    raise AssertionError(f"no such node: {type(node).__name__}")


def _constant(node: Constant) -> Compute:
    value = node.value
    if isinstance(value, str):
        text = value
        return lambda frame: frame.columns.texts.code(text) if text else MISSING_TEXT
    held = np.bool_(value) if node.kind == "truth" else np.float64(value)
    return lambda _: held


def _always(value: bool) -> Compute:
    held = np.bool_(value)
    return lambda _: held


def _field(node: Field) -> Compute:
    name, none = node.name, _OF_NO_ITEM[node.kind]
    if not node.of_current:
        return lambda frame: frame.columns.column(name).values
    return lambda frame: none if frame.current is None else frame.columns.column(name).values[frame.current]


def _missing(node: Missing) -> Compute:
    inner = computed(node.inner)
    if node.inner.kind == "number":
        return lambda frame: np.isnan(inner(frame))
    if node.inner.kind == "text":
        return lambda frame: np.equal(inner(frame), MISSING_TEXT)
    return lambda frame: np.False_


def _compared(node: Compare) -> Compute:
    left, right = computed(node.left), computed(node.right)
    if node.sign != "==":
        compare = _COMPARED[node.sign]
        return lambda frame: compare(left(frame), right(frame))
    if node.left.kind != "text":
        return lambda frame: np.equal(left(frame), right(frame))
    if isinstance(node.left, Constant) and isinstance(node.right, Constant):
        # Texts that no item has share one code, so two constants are compared as they are.
        return _always(node.left.value == node.right.value != "")
    return lambda frame: _same_text(left(frame), right(frame))


def _same_text(left: Value, right: Value) -> Value:
    return np.logical_and(np.equal(left, right), np.not_equal(left, MISSING_TEXT))


def _among(node: Among) -> Compute:
    if isinstance(node.left, Constant):
        return _always(node.left.value in node.values and node.left.value != "")
    left = computed(node.left)
    if node.left.kind == "number":
        numbers = np.array(node.values, np.float64)
        return lambda frame: np.isin(left(frame), numbers)
    texts = [str(value) for value in node.values if value]
    return lambda frame: np.isin(left(frame), [frame.columns.texts.code(text) for text in texts])


def _matched(node: Match) -> Compute:
    if isinstance(node.left, Field) and not node.left.of_current:
        return _Matched(node.left.name, node.text.casefold(), at_start=node.at_start)
    needle, at_start = node.text.casefold(), node.at_start
    if isinstance(node.left, Constant):
        return _always(_matches(str(node.left.value), needle, at_start=at_start))
    left = computed(node.left)
    return lambda frame: _matches(frame.columns.texts.text(int(left(frame))), needle, at_start=at_start)


class _Matched:
    """Looks into every different text of a column once, and again when the column has changed."""

    def __init__(self, name: str, needle: str, *, at_start: bool) -> None:
        self._name = name
        self._needle = needle
        self._at_start = at_start
        self._of: tuple[Columns | None, int] = (None, -1)
        self._found: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __call__(self, frame: Frame) -> NDArray[np.bool_]:
        column = frame.columns.column(self._name)
        if self._of != (frame.columns, column.changes):
            codes, places = np.unique(column.values, return_inverse=True)
            text = frame.columns.texts.text
            found = [
                code != MISSING_TEXT and _matches(text(code), self._needle, at_start=self._at_start)
                for code in codes.tolist()
            ]
            self._found = np.array(found, np.bool_)[places]
            self._of = (frame.columns, column.changes)
        return self._found


def _matches(text: str, needle: str, *, at_start: bool) -> bool:
    if not text:
        return False
    return text.casefold().startswith(needle) if at_start else needle in text.casefold()


def _calculated(node: Calculate) -> Compute:
    left, right, calculate = computed(node.left), computed(node.right), _CALCULATED[node.sign]

    def calculated(frame: Frame) -> Value:
        result = calculate(left(frame), right(frame))
        return np.where(np.isfinite(result), result, np.nan)

    return calculated
