"""Whatever a client sends as a question, it gets a checked struct or an error that says why."""

import asyncio
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.catalog_upsert import judge
from api.errors import ApiError, InvalidParameterError
from api.problems import problem_response
from api.queries import query_from_body, query_from_string
from api.question import KNOWN, LISTS, RecommendationQuery

_decoder = msgspec.json.Decoder(RecommendationQuery)
_ids = st.text(st.characters(exclude_characters=",", exclude_categories=("Cs",)), min_size=1, max_size=64)


def _reads_well(error: ApiError) -> bool:
    return bool(error.wanted and error.got and problem_response(error, 422).body)


@given(st.binary(max_size=200))
def test_any_query_string_is_decoded_or_refused_with_reasons(query_string: bytes) -> None:
    refusal = None
    try:
        query_from_string(query_string, RecommendationQuery, known=KNOWN, lists=LISTS)
    except InvalidParameterError as error:
        refusal = error

    assert refusal is None or _reads_well(refusal)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KNOWN, "other"]), inner),
    ).map(msgspec.json.encode)
)
def test_any_body_is_decoded_or_refused_with_reasons(body: bytes) -> None:
    refusal = None
    try:
        query_from_body(body, _decoder, known=KNOWN)
    except ApiError as error:
        refusal = error

    assert refusal is None or _reads_well(refusal)


@given(
    st.builds(
        RecommendationQuery,
        visitor=_ids,
        n=st.integers(1, 200),
        item=st.none() | _ids,
        cart=st.lists(_ids, max_size=5).map(tuple),
        exclude=st.lists(_ids, max_size=5).map(tuple),
        budget_ms=st.integers(1, 1000),
        explain=st.booleans(),
    )
)
def test_a_question_asked_in_a_query_or_in_a_body_is_the_same(query: RecommendationQuery) -> None:
    document = {name: value for name, value in msgspec.to_builtins(query).items() if value is not None}
    pairs = {name: ",".join(value) if name in LISTS else value for name, value in document.items()}

    from_string = query_from_string(
        urlencode(pairs).encode() + b"&key=wk_1", RecommendationQuery, known=KNOWN, lists=LISTS
    )
    from_body = query_from_body(msgspec.json.encode(document), _decoder, known=KNOWN)

    assert from_string == from_body == query


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_may_be_repeated_or_separated(name: str) -> None:
    repeated = query_from_string(
        f"visitor=v&{name}=title&{name}=price".encode(), RecommendationQuery, known=KNOWN, lists=LISTS
    )
    separated = query_from_string(
        f"visitor=v&{name}=title,price".encode(), RecommendationQuery, known=KNOWN, lists=LISTS
    )

    assert repeated == separated


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.sampled_from(["item_id", "price"]), st.integers()).map(msgspec.json.encode)
)
def test_any_line_of_the_catalogue_gets_a_verdict(line: bytes) -> None:
    products, verdicts = asyncio.run(judge([(1, line)]))

    assert [verdict.status for verdict in verdicts] == ["accepted" if products else "rejected"]
    assert products or (verdicts[0].wanted and verdicts[0].got)


def test_the_word_null_is_no_number_and_a_visitor_may_be_called_so() -> None:
    with pytest.raises(InvalidParameterError, match="`n`: a whole number"):
        query_from_string(b"visitor=v&n=null", RecommendationQuery, known=KNOWN, lists=LISTS)

    assert query_from_string(b"visitor=null", RecommendationQuery, known=KNOWN, lists=LISTS).visitor == "null"
