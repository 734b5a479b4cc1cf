"""`GET /v1/explain`: what an answer was, and how it came about, as far as it was kept."""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answers import ServedAnswer
from api.auth import Gate, guarded
from api.kept import Whole, is_kept, whole
from api.queries import query_from_string
from api.served_answers import ServedAnswers
from api.visitors import Visitors

PATH = "/v1/explain"
KNOWN = {
    "recommendation_id": "the id of an answer, 1 to 160 characters",
    "visitor": "whose answer it was, 1 to 128 characters; without it all partitions are looked through",
}
_WITHIN_S = 2.0


class ExplainQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which answer."""

    recommendation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=160)]
    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class Explanation(msgspec.Struct, frozen=True):
    """What was logged with an answer. `made_of`: null where it was not kept; `not_kept` then says why."""

    answer: ServedAnswer
    made_of: Whole | None
    not_kept: str | None


def explain_route(served: ServedAnswers, visitors: Visitors, gate: Gate, *, kept_share: float) -> Route:
    """Build the route around what was served."""

    async def get_explanation(request: Request) -> Response:
        query = query_from_string(request.scope["query_string"], ExplainQuery, known=KNOWN)
        key = visitors.key(query.visitor) if query.visitor is not None else None
        answer = await served.find(query.recommendation_id, visitor_key=key, within_s=_WITHIN_S)
        plain = msgspec.structs.replace(answer, kept=())
        explanation = (
            Explanation(plain, whole(answer), None)
            if answer.kept
            else Explanation(plain, None, _why_not_kept(answer, kept_share))
        )
        headers = {"Cache-Control": "private, no-store"}
        return Response(msgspec.json.encode(explanation), headers=headers, media_type="application/json")

    return Route(PATH, guarded(gate, "secret", get_explanation), methods=["GET"])


def _why_not_kept(answer: ServedAnswer, share: float) -> str:
    if is_kept(bytes.fromhex(answer.visitor_key), answer.time_ms, share=share):
        return "answers of that time were kept by another share (`api.answers_kept_share`) than now, or by none yet"
    return (
        f"what it was made of is kept for {share:.0%} of the answers (`api.answers_kept_share`) and for those whose "
        "request says explain=true; this one was neither"
    )
