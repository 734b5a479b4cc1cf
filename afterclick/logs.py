"""Where log lines go: standard error, as JSON for machines and as plain lines for a person."""

import sys

import structlog


def configure_logs(*, for_a_person: bool) -> None:
    """Set structlog up for this process; standard output stays free for results."""
    render = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if for_a_person
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
