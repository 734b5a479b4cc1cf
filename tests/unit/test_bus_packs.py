"""Packs: what other teams read, and what is refused."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
import zstandard

import ingest
from ingest.bus.contract import Record
from ingest.bus.packs import NotAPackError, PackCodec, fitness, split_into_packs
from ingest.bus.settings import BusSettings


def test_a_pack_is_json_under_the_published_schema() -> None:
    message = PackCodec().encode([Record(b"\x00\xff", b'{"event":"view_item"}', 1_700)])

    pack = json.loads(zstandard.ZstdDecompressor().decompress(message))

    schema = json.loads((Path(ingest.__file__).parents[1] / "docs" / "pack.schema.json").read_text())
    assert pack == {"v": 1, "e": [{"k": b64encode(b"\x00\xff").decode(), "t": 1_700, "p": {"event": "view_item"}}]}
    assert pack.keys() == set(schema["required"]) == set(schema["properties"])
    entry = schema["properties"]["e"]["items"]
    assert pack["e"][0].keys() == set(entry["required"]) == set(entry["properties"])
    assert schema["properties"]["v"] == {"const": pack["v"]}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no frame",
        zstandard.compress(b"no json"),
        zstandard.compress(b'{"v":1,"e":[]}'),
        zstandard.compress(b'{"v":2,"e":[{"k":"","t":0,"p":1}]}'),
        zstandard.compress(b'{"v":1,"e":[{"k":"","t":0}]}'),
    ],
)
def test_refuses_what_is_no_pack(message: bytes) -> None:
    with pytest.raises(NotAPackError):
        PackCodec().decode(message)


def test_refuses_a_frame_that_claims_to_be_huge() -> None:
    bomb = zstandard.compress(b"\0" * 64_000_000)

    assert len(bomb) < 10_000
    with pytest.raises(NotAPackError, match="at most"):
        PackCodec().decode(bomb)


@pytest.mark.parametrize("payload", [b"", b"{", b'"a" "b"', b"nul", None])
def test_a_record_whose_payload_is_no_json_value_is_unfit(payload: bytes | None) -> None:
    assert fitness(Record(b"k", payload), bytes_max=1_000) is not None


@pytest.mark.parametrize("payload", [b"null", b"1", b'"a"', b'{"a":[1,2]}', b" 1 "])
def test_a_record_whose_payload_is_a_json_value_is_fit(payload: bytes) -> None:
    assert fitness(Record(b"k", payload), bytes_max=1_000) is None


def test_a_record_larger_than_a_pack_is_unfit_and_the_error_says_by_how_much() -> None:
    error = fitness(Record(b"k", b'"' + b"x" * 100 + b'"'), bytes_max=100)

    assert "at most 100 bytes, got 103" in str(error)


def test_cuts_at_the_number_of_entries() -> None:
    records = [Record(b"k", b"1")] * 7

    assert split_into_packs(records, BusSettings(pack_entries_max=3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]


def test_no_records_are_no_packs() -> None:
    assert split_into_packs([], BusSettings()) == []
