"""The fold of the merchandising log: the same everywhere, and nothing in it is lost or changed twice."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recommender.merchandising import Change, KindOf, Ledger, decode_change, encode_change
from recommender.merchandising.changes import NOTHING


class Named(msgspec.Struct):
    id: str
    value: int = 0


KINDS = (KindOf("rule", msgspec.json.Decoder(Named).decode, lambda named: named.id),)


def _changes() -> st.SearchStrategy[list[Change]]:
    change = st.builds(
        lambda number, kind, name, edits, body: Change(
            f"c{number}", kind, name, edits, "ann", 1_000 + number, msgspec.Raw(body)
        ),
        st.integers(0, 10_000),
        st.sampled_from(["rule", "rule", "rule", "other"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 4),
        st.sampled_from([b'{"id":"a","value":1}', b'{"id":"b"}', b'{"id":"a"}', b"7", b"null"]),
    )
    return st.lists(change, max_size=40)


@given(_changes())
def test_two_replicas_that_fold_the_same_log_agree(changes: list[Change]) -> None:
    first, second = Ledger(KINDS), Ledger(KINDS)

    outcomes = [first.apply(change) for change in changes]
    others = [second.apply(decode_change(encode_change(change))) for change in changes]

    assert outcomes == others
    assert list(first.documents("rule")) == list(second.documents("rule"))
    assert first.audit() == second.audit()


@given(_changes())
def test_what_stands_is_what_the_applied_changes_say_in_order(changes: list[Change]) -> None:
    ledger = Ledger(KINDS)
    wanted: dict[str, tuple[int, bytes]] = {}
    for change in changes:
        version, _ = wanted.get(change.id, (0, b""))
        outcome = ledger.apply(change)
        if change.kind == "other":
            assert outcome.status == "refused"
            continue
        if outcome.status == "applied":
            assert change.edits == version
            wanted[change.id] = (version + 1, bytes(change.body))
        assert outcome.version == wanted.get(change.id, (0, b""))[0]

    for name, (version, body) in wanted.items():
        document = ledger.get("rule", name)
        assert document is not None
        assert document.version == version
        assert bytes(document.raw) == body


@given(_changes())
def test_the_audit_chains_before_to_after(changes: list[Change]) -> None:
    ledger = Ledger(KINDS)
    for change in changes:
        ledger.apply(change)

    for name in ("a", "b"):
        newest_first = ledger.history("rule", name)
        for newer, older in pairwise(newest_first):
            assert newer.version == older.version + 1
            assert newer.before == older.after


@given(_changes())
def test_any_version_in_the_history_can_be_had_again(changes: list[Change]) -> None:
    ledger = Ledger(KINDS)
    for change in changes:
        ledger.apply(change)

    for applied in ledger.history("rule", "a"):
        assert ledger.body_of("rule", "a", applied.version) == applied.after
    assert ledger.body_of("rule", "a", 0) == NOTHING
