"""The building blocks of the API's description: operations, parameters, references."""

from collections.abc import Sequence
from typing import Any

from api.problems import Problem

_TITLES = {
    400: "The body is not what its Content-Type says",
    401: "No key, or one that is not ours",
    403: "A key or an origin that may not do this",
    404: "Nothing is there",
    409: "Made on what is no longer so",
    413: "Too large",
    415: "A Content-Type nobody asked for",
    422: "A parameter, field or event is wrong",
    503: "Overloaded, draining, or something behind is down; see Retry-After",
}
REF = "#/components/schemas/{name}"


_KEYED: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, {"query": []}]


def operation(
    summary: str,
    answer: type | tuple[type, ...] | None,
    problems: Sequence[int],
    *,
    status: int = 200,
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    keyed: bool = True,
    media_type: str = "application/json",
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One operation. `more`: answers of other statuses, said in words."""
    schema: dict[str, Any]
    if isinstance(answer, tuple):
        schema = {"anyOf": [ref(kind) for kind in answer]}
    else:
        schema = ref(answer) if answer else {} if media_type == "application/json" else {"type": "string"}
    responses: dict[str, Any] = {str(status): {"description": "Yes", "content": {media_type: {"schema": schema}}}}
    for problem in problems:
        content = {"application/problem+json": {"schema": ref(Problem)}}
        responses[str(problem)] = {"description": _TITLES[problem], "content": content}
    responses |= {code: {"description": said} for code, said in (more or {}).items()}
    operation: dict[str, Any] = {"summary": summary, "responses": responses, "security": _KEYED if keyed else []}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def parameters_of(schema: dict[str, Any], known: dict[str, str], lists: frozenset[str]) -> list[dict[str, Any]]:
    """A query struct's fields as query parameters."""
    required = set(schema.get("required", ()))
    parameters = []
    for name, field in schema["properties"].items():
        parameter = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(field),
            "description": known[name],
        }
        if name in lists:
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is left out; `null` is a word like any other in a query."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    plain = {name: value for name, value in field.items() if name not in {"anyOf", "default"} or value is not None}
    if len(kinds) == 1:
        del plain["anyOf"]
        return {**plain, **kinds[0]}
    return plain


def ref(kind: type) -> dict[str, str]:
    """Where the schema of a type stands."""
    return {"$ref": REF.format(name=kind.__name__)}
