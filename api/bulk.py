"""Suggestions for many visitors (a newsletter): one answer a line, in order, at the pace the reader takes them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import orjson
from prometheus_client import Counter

from api.answer_json import encode_recommendations
from api.budget import Admission
from api.errors import ApiError, BadRequestError, BodyTooLargeError, OverloadedError
from api.problems import Problem, problem_of
from api.queries import query_from_body
from api.question import KNOWN, RecommendationQuery
from api.suggestions import Recommendations, Suggestions

_LINES = Counter("afterclick_api_bulk_lines_total", "Lines of bulk requests answered", ["outcome"])
_PAUSE_S = 0.02
_TRIES = 50
_decoder = msgspec.json.Decoder(RecommendationQuery)


class BulkProblem(msgspec.Struct, frozen=True):
    """In place of an answer: why this line has none."""

    problem: Problem


StatusOf = Callable[[ApiError], int]


class Bulk:
    """Answers line after line, `concurrency` at a time, and stands back while visitors are waiting.

    Args:
        admission: the visitors' own; a bulk takes no more than half of it.
        status_of: the one table from errors to statuses.
    """

    def __init__(
        self,
        suggestions: Suggestions,
        admission: Admission,
        status_of: StatusOf,
        *,
        lines_max: int,
        streams_max: int,
        concurrency: int,
        retry_after_s: int,
    ) -> None:
        self._suggestions = suggestions
        self._admission = admission
        self._status_of = status_of
        self._lines_max = lines_max
        self._streams_max = streams_max
        self._concurrency = concurrency
        self._retry_after_s = retry_after_s
        self._streams = 0

    def open(self, body: bytes) -> AsyncIterator[bytes]:
        """The answers to `body`, one question a line; nothing is worked out before it is asked for.

        Raises:
            BadRequestError: not one line.
            BodyTooLargeError: more lines than one call may have.
            OverloadedError: as many bulks are under way as may be.
        """
        lines = [line for line in body.splitlines() if line.strip()]
        if not lines:
            raise BadRequestError(
                "empty_body", wanted="one question a line", got="an empty body", next_step="send a JSON object a line"
            )
        if len(lines) > self._lines_max:
            raise BodyTooLargeError(
                "too_many_lines",
                wanted=f"at most {self._lines_max} lines",
                got=str(len(lines)),
                next_step="send them in several requests",
            )
        if self._streams >= self._streams_max:
            raise OverloadedError(
                "too_many_bulks",
                wanted=f"at most {self._streams_max} bulk requests at once in a server process",
                got="one more",
                next_step="ask again after Retry-After",
                retry_after_s=self._retry_after_s,
            )
        return self._answers(lines)

    async def _answers(self, lines: Sequence[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            for start in range(0, len(lines), self._concurrency):
                chunk = lines[start : start + self._concurrency]
                # The next chunk is begun when the reader has taken this one: that is all the queue there is.
                yield b"".join(await asyncio.gather(*[self._line(line) for line in chunk]))
        finally:
            self._streams -= 1

    async def _line(self, line: bytes) -> bytes:
        try:
            answer = await self._patiently(query_from_body(line, _decoder, known=KNOWN))
        except ApiError as error:
            _LINES.labels("refused").inc()
            return orjson.dumps(_problem(error, self._status_of(error))) + b"\n"
        _LINES.labels("answered").inc()
        return encode_recommendations(answer) + b"\n"

    async def _patiently(self, query: RecommendationQuery) -> Recommendations:
        for _ in range(_TRIES):
            if self._admission.is_half_full:
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                return await self._suggestions.answer(query, first_byte_s=time.perf_counter())
            except OverloadedError:
                await asyncio.sleep(_PAUSE_S)
        return await self._suggestions.answer(query, first_byte_s=time.perf_counter())


def _problem(error: ApiError, status: int) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(problem_of(error, status))
    return {"problem": document | error.extensions}
