"""What the collector answers: a verdict an event, or one problem for the whole request."""

from typing import Literal

import msgspec

from ingest.errors import EventRejectedError, RequestRefusedError

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


class Verdict(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of one event. `code` and what follows are there when it was rejected, or accepted and not kept."""

    message_id: str | None
    status: Literal["accepted", "rejected"]
    code: str | None = None
    wanted: str | None = None
    got: str | None = None
    next_step: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The body of a 202: verdicts in the order of the events."""

    accepted: int
    rejected: int
    verdicts: list[Verdict]


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """RFC 9457 problem document; with the verdicts when every event of the request was rejected."""

    type: str
    title: str
    status: int
    detail: str
    wanted: str
    got: str
    next_step: str
    accepted: int | msgspec.UnsetType = msgspec.UNSET
    rejected: int | msgspec.UnsetType = msgspec.UNSET
    verdicts: list[Verdict] | msgspec.UnsetType = msgspec.UNSET


class CollectorReply(msgspec.Struct, frozen=True, gc=False):
    """One reply, free of HTTP but for its numbers: 202, 400, 413, 415, 422 or 503."""

    status: int
    body: Answer | Problem
    retry_after_s: int | None = None
    """For the header `Retry-After`."""

    @property
    def content_type(self) -> str:
        """`application/json`, or `application/problem+json` for a problem."""
        return JSON if isinstance(self.body, Answer) else PROBLEM_JSON

    def json(self) -> bytes:
        """The body, encoded."""
        return _encoder.encode(self.body)


def accepted(message_id: str) -> Verdict:
    """Durably on the bus."""
    return Verdict(message_id, "accepted")


def not_kept(message_id: str) -> Verdict:
    """Accepted and dropped, because the visitor gave no consent."""
    return Verdict(
        message_id,
        "accepted",
        "not_kept",
        wanted="consent session or full, for an event to be kept",
        got="consent none",
        next_step="nothing: do not send it again",
    )


def rejected(message_id: str | None, error: EventRejectedError) -> Verdict:
    """The sender's fault, and what to do about it."""
    return Verdict(message_id, "rejected", error.code, error.wanted, error.got, error.next_step)


def reply_to_verdicts(verdicts: list[Verdict]) -> CollectorReply:
    """202 when at least one event was accepted, 422 when none was."""
    rejected_count = sum(verdict.status == "rejected" for verdict in verdicts)
    if rejected_count < len(verdicts):
        return CollectorReply(202, Answer(len(verdicts) - rejected_count, rejected_count, verdicts))
    first = verdicts[0]
    problem = Problem(
        type=f"/problems/{first.code}",
        title="No event of the request was accepted" if rejected_count > 1 else "The event was rejected",
        status=422,
        detail=f"{first.code}: wanted {first.wanted}; got {first.got}",
        wanted=first.wanted or "",
        got=first.got or "",
        next_step=first.next_step or "",
        accepted=0,
        rejected=rejected_count,
        verdicts=verdicts,
    )
    return CollectorReply(422, problem)


def reply_to_refusal(refusal: RequestRefusedError) -> CollectorReply:
    """One problem for the whole request; nothing of it was taken for certain."""
    problem = Problem(
        type=f"/problems/{refusal.code}",
        title=refusal.code.replace("_", " ").capitalize(),
        status=refusal.status,
        detail=str(refusal),
        wanted=refusal.wanted,
        got=refusal.got,
        next_step=refusal.next_step,
    )
    return CollectorReply(refusal.status, problem, refusal.retry_after_s)


_encoder = msgspec.json.Encoder()
