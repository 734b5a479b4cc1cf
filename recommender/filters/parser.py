"""From text to a checked tree, by recursive descent; every error says where, what was wanted and what came.

expression := either
either     := both ("or" both)*
both       := opposite ("and" opposite)*
opposite   := "not" opposite | relation
relation   := sum [("==" | "!=" | "<" | "<=" | ">" | ">=") sum | ["not"] "in" "(" constant ("," constant)* ")"
              | ["not"] ("contains" | "starts_with") text]
sum        := product (("+" | "-") product)*
product    := value (("*" | "/") value)*
value      := number | text | "true" | "false" | field | "current" "." field | "-" value | "(" expression ")"
              | "if" expression "then" expression "else" expression
"""

import difflib
from collections.abc import Callable
from typing import cast

from recommender.errors import ExpressionError
from recommender.filters.fields import FIELDS, Kind
from recommender.filters.tokens import Token, tokens_of
from recommender.filters.tree import (
    Among,
    Both,
    Calculate,
    Calculation,
    Choice,
    Compare,
    Comparison,
    Constant,
    Either,
    Field,
    Match,
    Missing,
    Node,
    Not,
)

DEPTH_MAX = 32
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_CURRENT = "current."
_A = {"number": "a number", "text": "a text", "truth": "a condition"}


def parse(text: str) -> Node:
    """The tree of `text`.

    Raises:
        ExpressionError: it is none; says where and why.
    """
    parser = _Parser(tokens_of(text))
    node = parser.expression()
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def expression(self) -> Node:
        return self._either()

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise _unexpected(self._next, "`and`, `or`, a comparison or the end of the expression")

    def _either(self) -> Node:
        left = self._both()
        while self._take("or"):
            left = Either(left.column, "truth", _wanted(left, "truth"), _wanted(self._both(), "truth"))
        return left

    def _both(self) -> Node:
        left = self._opposite()
        while self._take("and"):
            left = Both(left.column, "truth", _wanted(left, "truth"), _wanted(self._opposite(), "truth"))
        return left

    def _opposite(self) -> Node:
        token = self._next
        if not self._take("not"):
            return self._relation()
        self._deeper(token)
        inner = _wanted(self._opposite(), "truth")
        self._depth -= 1
        return Not(token.column, "truth", inner)

    def _relation(self) -> Node:
        left = self._sum()
        token = self._next
        if token.kind == "symbol" and token.value in _COMPARISONS:
            self._place += 1
            return self._compared(left, token)
        negated = self._take("not")
        if self._take("in"):
            found: Node = Among(left.column, "truth", _comparable(left), self._constants(left.kind))
        elif self._next.kind == "keyword" and self._next.value in {"contains", "starts_with"}:
            at_start = self._next.value == "starts_with"
            self._place += 1
            found = Match(left.column, "truth", _wanted(left, "text"), at_start, self._text())
        elif negated:
            raise _unexpected(self._next, "`in`, `contains` or `starts_with` after `not`")
        else:
            return left
        return Not(left.column, "truth", found) if negated else found

    def _compared(self, left: Node, token: Token) -> Node:
        if self._take("null"):
            if token.value not in {"==", "!="}:
                raise _unexpected(token, "`== null` or `!= null`")
            missing = Missing(left.column, "truth", left)
            return missing if token.value == "==" else Not(left.column, "truth", missing)
        right = self._sum()
        if token.value not in {"==", "!="}:
            left, right = _wanted(left, "number"), _wanted(right, "number")
        right = _wanted(right, left.kind)
        sign = cast(Comparison, token.value)
        if sign == "!=":
            return Not(left.column, "truth", Compare(left.column, "truth", "==", left, right))
        return Compare(left.column, "truth", sign, left, right)

    def _sum(self) -> Node:
        left = self._product()
        while self._next.kind == "symbol" and self._next.value in {"+", "-"}:
            left = self._calculated(left, self._product)
        return left

    def _product(self) -> Node:
        left = self._value()
        while self._next.kind == "symbol" and self._next.value in {"*", "/"}:
            left = self._calculated(left, self._value)
        return left

    def _calculated(self, left: Node, right: Callable[[], Node]) -> Node:
        sign = cast(Calculation, self._next.value)
        self._place += 1
        return Calculate(left.column, "number", sign, _wanted(left, "number"), _wanted(right(), "number"))

    def _value(self) -> Node:
        token = self._next
        self._place += 1
        self._deeper(token)
        node = self._value_at(token)
        self._depth -= 1
        return node

    def _value_at(self, token: Token) -> Node:
        match token.kind, token.value:
            case "number", digits:
                return Constant(token.column, "number", _finite(token, digits))
            case "text", text:
                return Constant(token.column, "text", text)
            case "name", name:
                return _field(token, name)
            case "keyword", ("true" | "false") as word:
                return Constant(token.column, "truth", word == "true")
            case "keyword", "if":
                return self._choice(token)
            case "symbol", "-":
                zero = Constant(token.column, "number", 0.0)
                return Calculate(token.column, "number", "-", zero, _wanted(self._value(), "number"))
            case "symbol", "(":
                inner = self.expression()
                self._expect("symbol", ")")
                return inner
        if token.kind == "keyword" and token.value == "null":
            raise _unexpected(token, "null only after `==` or `!=`")
        raise _unexpected(token, "a field, a number, a text in quotes, `(`, `not` or `if`")

    def _choice(self, token: Token) -> Node:
        condition = _wanted(self.expression(), "truth")
        self._expect("keyword", "then")
        one = _wanted(self.expression(), "number")
        self._expect("keyword", "else")
        other = _wanted(self.expression(), "number")
        return Choice(token.column, "number", condition, one, other)

    def _constants(self, kind: Kind) -> tuple[float | str, ...]:
        self._expect("symbol", "(")
        values = [self._constant(kind)]
        while self._take_symbol(","):
            values.append(self._constant(kind))
        self._expect("symbol", ")")
        return tuple(values)

    def _constant(self, kind: Kind) -> float | str:
        negative = kind == "number" and self._take_symbol("-")
        node = self._value_at(self._tokens[self._place]) if self._next.kind in {"number", "text"} else None
        if not isinstance(node, Constant) or node.kind != kind:
            raise _unexpected(self._next, f"{_A[kind]} written down")
        self._place += 1
        if isinstance(node.value, str):
            return node.value
        return -node.value if negative else float(node.value)

    def _text(self) -> str:
        token = self._next
        self._expect("text", None)
        return token.value

    def _take(self, keyword: str) -> bool:
        return self._taken("keyword", keyword)

    def _take_symbol(self, symbol: str) -> bool:
        return self._taken("symbol", symbol)

    def _taken(self, kind: str, value: str) -> bool:
        found = self._next.kind == kind and self._next.value == value
        self._place += found
        return found

    def _expect(self, kind: str, value: str | None) -> None:
        token = self._next
        if token.kind != kind or (value is not None and token.value != value):
            raise _unexpected(token, f"`{value}`" if value is not None else "a text in quotes")
        self._place += 1

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError(
                token.column,
                wanted=f"at most {DEPTH_MAX} brackets within each other",
                got="more",
                next_step="take brackets out; `and` binds closer than `or`",
            )


def _field(token: Token, name: str) -> Node:
    of_current = name.startswith(_CURRENT)
    plain = name.removeprefix(_CURRENT)
    kind = FIELDS.get(plain)
    if kind is None:
        close = difflib.get_close_matches(plain, FIELDS, n=1)
        raise ExpressionError(
            token.column,
            wanted=f"a field of {', '.join(FIELDS)}, alone or after `current.`",
            got=token.shown,
            next_step=f"did you mean `{close[0]}`?" if close else "texts stand in quotes",
        )
    return Field(token.column, kind, plain, of_current)


def _wanted(node: Node, kind: Kind) -> Node:
    if node.kind != kind:
        raise ExpressionError(
            node.column,
            wanted=_A[kind],
            got=_A[node.kind],
            next_step=_HOW.get((kind, node.kind), "see docs/filters.md"),
        )
    return node


_HOW = {
    ("truth", "number"): "compare it, as in `price < 50`",
    ("truth", "text"): 'compare it, as in `brand == "Acme"`',
    ("number", "text"): "texts can be compared with ==, !=, in, contains and starts_with",
    ("number", "truth"): "write `if … then 2 else 1` to weigh by a condition",
    ("text", "number"): 'a text stands in quotes, as in "50"',
}


def _comparable(node: Node) -> Node:
    return node if node.kind != "truth" else _wanted(node, "text")


def _finite(token: Token, digits: str) -> float:
    value = float(digits)
    if value == float("inf"):
        raise ExpressionError(token.column, wanted="a number below 1e308", got=token.shown, next_step="shorten it")
    return value


def _unexpected(token: Token, wanted: str) -> ExpressionError:
    return ExpressionError(
        token.column, wanted=wanted, got=token.shown, next_step="docs/filters.md shows the whole language"
    )
