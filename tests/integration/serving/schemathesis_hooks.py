"""What schemathesis cannot read from a schema: the words of our formats, and how lines of JSON are written and read."""

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format(
    "afterclick-filter",
    st.sampled_from(["price < 50", "available and category == current.category", "not (title contains 'x')"]),
)
schemathesis.openapi.format("afterclick-booster", st.sampled_from(["1.5", "if margin > 0.4 then 1.5 else 1"]))
schemathesis.openapi.format("afterclick-placement", st.sampled_from(["home", "cart"]))


@schemathesis.serializer("application/x-ndjson", "application/jsonl", "application/ndjson")
def write_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass") + b"\n"


@schemathesis.deserializer("application/x-ndjson")
def read_first_line(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    return json.loads(response.content.splitlines()[0])


@schemathesis.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """JSON Schema calls 5.0 an integer; our decoder, as most senders do, writes and reads 5."""
    return _whole(body)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
