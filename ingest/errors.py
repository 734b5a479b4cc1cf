"""The ways ingestion fails, and whose fault each is.

IngestError
├── EventRejectedError          the sender's fault: told in the verdict, never retried
├── RequestRefusedError         a whole request: the sender's fault (4xx) or ours (503, with when to come back)
├── BusError
│   ├── BusUnavailableError     our fault: retried until the send deadline, then 503
│   ├── BusFullError            our fault: nothing may be trimmed; 503 until the archive catches up
│   └── LogMismatchError        an operator's matter: state of another log; names both and the command
├── CatalogFileError            the caller's fault: a file of products cannot be read; says which and why
└── ArchiveError                our fault: the archive cannot be read or written; nothing is acknowledged
"""


class IngestError(Exception):
    """Root of everything `ingest` raises on purpose."""


class EventRejectedError(IngestError):
    """The sender's fault: answered with a verdict that says what was wanted, what came and what to do."""

    def __init__(self, code: str, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"{code}: wanted {wanted}; got {got}; {next_step}")
        self.code = code
        self.wanted = wanted
        self.got = got
        self.next_step = next_step


class RequestRefusedError(IngestError):
    """A whole request is refused with `status`; a 503 says when to come back."""

    def __init__(
        self, status: int, code: str, *, wanted: str, got: str, next_step: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(f"{code}: wanted {wanted}; got {got}; {next_step}")
        self.status = status
        self.code = code
        self.wanted = wanted
        self.got = got
        self.next_step = next_step
        self.retry_after_s = retry_after_s


class BusError(IngestError):
    """The bus could not do what was asked."""


class BusUnavailableError(BusError):
    """The broker does not answer; retried with backoff until the send deadline, then 503."""


class BusFullError(BusError):
    """The bus is at its size limit and nothing may be trimmed; 503 until the archive catches up."""


class LogMismatchError(BusError):
    """Stored state belongs to another log than the topic's: refused by name."""


class ArchiveError(IngestError):
    """The archive cannot be read or written."""


class CatalogFileError(IngestError):
    """A file of products cannot be read; says what was wanted, what came and what to do."""

    def __init__(self, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"wanted {wanted}; got {got}; {next_step}")
        self.wanted = wanted
        self.got = got
        self.next_step = next_step
