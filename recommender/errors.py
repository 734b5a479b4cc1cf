"""The ways recommending fails, and whose fault each is.

RecommenderError
├── SnapshotRefusedError    an operator's matter: a model file is truncated or altered; the last good one serves
├── DeltaRefusedError       our fault: an entry of the topic `model` cannot be read; skipped and counted
├── ExpressionError         the caller's fault: a filter or booster cannot be read; says at which column
├── RankerRefusedError      our fault: trees of another form or other features; the shipped ones serve
├── RankerUnavailableError  the machine's or the shop's: no ranker can be fitted here yet; the one at hand serves
├── NoSupportError          nobody's fault: the log cannot tell what is asked; says how much it holds
└── EvaluationInputError    the caller's fault: a file, column, split or model that is not there
"""


class RecommenderError(Exception):
    """Root of everything `recommender` raises on purpose."""


class SnapshotRefusedError(RecommenderError):
    """A snapshot cannot be trusted; the message names the file, what was wanted and what came."""


class DeltaRefusedError(RecommenderError):
    """An entry of the topic `model` is not what the codec writes."""


class RankerRefusedError(RecommenderError):
    """Trees are not what the serving kernel can walk; the message says what was wanted and what came."""


class RankerUnavailableError(RecommenderError):
    """A ranker cannot be fitted: LightGBM cannot be loaded, or there is too little to learn from."""


class NoSupportError(RecommenderError):
    """The log cannot tell what is asked: too little of it was ever shown. The message says how much was."""


class EvaluationInputError(RecommenderError):
    """What was to be evaluated cannot be; says what was wanted, what came and what to do."""

    def __init__(self, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"wanted {wanted}; got {got}; {next_step}")
        self.wanted = wanted
        self.got = got
        self.next_step = next_step


class ExpressionError(RecommenderError):
    """A filter or booster cannot be read; `column` is counted from 1, `parameter` says which of the two it is."""

    parameter = "expression"

    def __init__(self, column: int, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"column {column}: wanted {wanted}; got {got}; {next_step}")
        self.column = column
        self.wanted = wanted
        self.got = got
        self.next_step = next_step
