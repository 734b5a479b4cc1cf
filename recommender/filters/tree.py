"""An expression as a tree of checked nodes; each knows its place in the text and what it gives for one item."""

from typing import Literal

import msgspec

from recommender.filters.fields import Kind

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
Calculation = Literal["+", "-", "*", "/"]


class Node(msgspec.Struct, frozen=True):
    """`column`: of its first character, counted from 1."""

    column: int
    kind: Kind


class Constant(Node, frozen=True):
    """A number, a text or a truth written down."""

    value: float | str | bool


class Field(Node, frozen=True):
    """A field of the item that is judged, or (`of_current`) of the page's own item."""

    name: str
    of_current: bool


class Missing(Node, frozen=True):
    """Is the value not known? Written `field == null`."""

    inner: Node


class Not(Node, frozen=True):
    """The opposite."""

    inner: Node


class Both(Node, frozen=True):
    """`left and right`."""

    left: Node
    right: Node


class Either(Node, frozen=True):
    """`left or right`."""

    left: Node
    right: Node


class Compare(Node, frozen=True):
    """Two values of one kind; false when either is not known, and `!=` is the opposite of `==`."""

    sign: Comparison
    left: Node
    right: Node


class Among(Node, frozen=True):
    """Does a value stand in a list of constants?"""

    left: Node
    values: tuple[float | str, ...]


class Match(Node, frozen=True):
    """Does a text contain (or start with) another, whatever their case?"""

    left: Node
    at_start: bool
    text: str


class Calculate(Node, frozen=True):
    """Arithmetic; not known when either side is not, or when the result is no finite number."""

    sign: Calculation
    left: Node
    right: Node


class Choice(Node, frozen=True):
    """`if condition then one else other`."""

    condition: Node
    one: Node
    other: Node


def fields_of(node: Node) -> frozenset[Field]:
    """Every field that `node` reads."""
    if isinstance(node, Field):
        return frozenset((node,))
    found: frozenset[Field] = frozenset()
    for name in node.__struct_fields__:
        inner = getattr(node, name)
        if isinstance(inner, Node):
            found |= fields_of(inner)
    return found
