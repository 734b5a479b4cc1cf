"""The ways a replay or a load run fails, and whose fault each is.

LoadTestError
├── InputError                  the caller's fault: says what was wanted, what came, and what to do
│   ├── OptionError             an option is outside its limits
│   └── InputFileError          the file cannot be read as events; says which flag mends it
│       └── ColumnMissingError  a wanted column is not there; names the ones that are
└── ServerError
    ├── KeyRefusedError         the caller's fault: the key is missing, wrong or of the lesser kind
    ├── RequestRefusedError     the caller's fault: the server refused the request for good; repeats its reason
    └── ServerUnavailableError  the server did not take it before the deadline
        └── ConnectionLostError one exchange broke off or timed out; the caller may send again
"""

from collections.abc import Sequence


class LoadTestError(Exception):
    """Root of everything `loadtest` raises on purpose."""


class InputError(LoadTestError):
    """What the caller gave cannot be used."""

    def __init__(self, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"wanted {wanted}; got {got}; {next_step}")
        self.wanted = wanted
        self.got = got
        self.next_step = next_step


class OptionError(InputError):
    """An option is outside its limits."""


class InputFileError(InputError):
    """The file cannot be read as events."""


class ColumnMissingError(InputFileError):
    """A wanted column is not in the file."""

    def __init__(self, what: str, *, tried: Sequence[str], found: Sequence[str], flag: str) -> None:
        super().__init__(
            wanted=f"a column for the {what} ({' or '.join(tried)})",
            got=f"the columns {', '.join(found) or '(none)'}",
            next_step=f"name the right one with {flag} COLUMN",
        )


class ServerError(LoadTestError):
    """The server did not do what was asked."""


class KeyRefusedError(ServerError):
    """The key is missing, wrong, or of the lesser kind."""


class RequestRefusedError(ServerError):
    """The server refused the request for good."""


class ServerUnavailableError(ServerError):
    """The server did not take it before the deadline."""


class ConnectionLostError(ServerUnavailableError):
    """One exchange broke off or timed out before its answer was whole."""
