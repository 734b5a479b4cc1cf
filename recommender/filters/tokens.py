"""Cut an expression into tokens, each with its place in the text."""

import re
from typing import Literal, NamedTuple

from recommender.errors import ExpressionError

EXPRESSION_CHARACTERS_MAX = 2_000
TOKENS_MAX = 500

TokenKind = Literal["number", "text", "name", "keyword", "symbol", "end"]

KEYWORDS = frozenset(
    {"and", "or", "not", "in", "contains", "starts_with", "if", "then", "else", "true", "false", "null"}
)

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
  | (?P<symbol>==|!=|<=|>=|[<>()+\-*/,])
    """,
    re.VERBOSE | re.DOTALL,
)
_MEANT = {
    "=": "`==` compares",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "[": "lists stand in ( )",
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Token(NamedTuple):
    """`column`: of its first character in the expression, counted from 1. `value`: of a text what it says."""

    kind: TokenKind
    value: str
    column: int

    @property
    def shown(self) -> str:
        """As an error message quotes it."""
        if self.kind == "end":
            return "the end of the expression"
        return f'"{self.value[:40]}"' if self.kind == "text" else f"`{self.value[:40]}`"


def tokens_of(text: str) -> list[Token]:
    """Every token, an `end` last.

    Raises:
        ExpressionError: too long, or a character that begins no token.
    """
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise ExpressionError(
            EXPRESSION_CHARACTERS_MAX + 1,
            wanted=f"at most {EXPRESSION_CHARACTERS_MAX} characters",
            got=f"{len(text)} characters",
            next_step="shorten the expression; a list of ids belongs into the parameter exclude",
        )
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _no_token(text, place)
        if match.lastgroup != "space":
            tokens.append(_token(match, place + 1))
        place = match.end()
    if len(tokens) > TOKENS_MAX:
        column = tokens[TOKENS_MAX].column
        raise ExpressionError(
            column, wanted=f"at most {TOKENS_MAX} words and signs", got=str(len(tokens)), next_step="shorten it"
        )
    return [*tokens, Token("end", "", len(text) + 1)]


def _token(match: re.Match[str], column: int) -> Token:
    value = match[0]
    if match.lastgroup == "text":
        return Token("text", _ESCAPE.sub(r"\1", value[1:-1]), column)
    if match.lastgroup == "number":
        return Token("number", value, column)
    if match.lastgroup == "symbol":
        return Token("symbol", value, column)
    # Keywords in any case, as people write them; names as the catalogue has them.
    return Token("keyword", value.lower(), column) if value.lower() in KEYWORDS else Token("name", value, column)


def _no_token(text: str, place: int) -> ExpressionError:
    character = text[place]
    if character in "\"'":
        return ExpressionError(
            place + 1, wanted=f"a closing {character}", got="the end of the expression", next_step="close the text"
        )
    return ExpressionError(
        place + 1,
        wanted="a field, a number, a text in quotes, an operator or a bracket",
        got=f"`{character}`",
        next_step=_MEANT.get(character, "take it out; docs/filters.md shows the whole language"),
    )
