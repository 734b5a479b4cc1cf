"""Laws of positions, packs, keys and partitions."""

from urllib.parse import unquote_to_bytes

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ingest.bus.contract import Position, Record, partition_of
from ingest.bus.packs import PackCodec, split_into_packs
from ingest.bus.publishing import packs_of
from ingest.bus.pulsar_messages import key_text
from ingest.bus.settings import BusSettings

positions = st.builds(Position, st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    lambda key, value, time_ms: Record(key, msgspec.json.encode(value), time_ms),
    st.binary(max_size=16),
    json_values,
    st.integers(0, 2**52),
)


@given(positions, positions)
def test_bytes_and_names_sort_as_positions_do(a: Position, b: Position) -> None:
    assert (a < b) == (a.to_bytes() < b.to_bytes()) == (str(a) < str(b))


@given(positions)
def test_a_position_comes_back_from_bytes_and_names(position: Position) -> None:
    assert Position.from_bytes(position.to_bytes()) == Position.parse(str(position)) == position


@given(st.lists(records, min_size=1, max_size=30))
def test_a_pack_gives_back_what_was_put_in(given_records: list[Record]) -> None:
    codec = PackCodec()

    entries = codec.decode(codec.encode(given_records))

    assert [Record(entry.k, bytes(entry.p), entry.t) for entry in entries] == given_records


@given(st.lists(records, max_size=60), st.integers(1, 9), st.integers(1_024, 2_000))
def test_packs_keep_every_record_once_in_order_and_their_limits(
    given_records: list[Record], entries_max: int, bytes_max: int
) -> None:
    settings = BusSettings(pack_entries_max=entries_max, pack_bytes_max=bytes_max)

    cuts = split_into_packs(given_records, settings)

    assert [record for cut in cuts for record in given_records[cut]] == given_records
    assert all(1 <= cut.stop - cut.start <= entries_max for cut in cuts)
    payload_bytes = [sum(len(record.payload or b"") for record in given_records[cut]) for cut in cuts]
    assert all(size <= bytes_max or cut.stop - cut.start == 1 for size, cut in zip(payload_bytes, cuts, strict=True))


@given(st.lists(records, max_size=60), st.integers(1, 8))
def test_each_record_is_in_one_pack_of_its_own_partition(given_records: list[Record], partitions: int) -> None:
    places = range(len(given_records))

    packs = packs_of(given_records, places, partitions=partitions, codec=PackCodec(), settings=BusSettings())

    assert sorted(place for pack in packs for place in pack.places) == list(places)
    for pack in packs:
        assert {partition_of(given_records[place].key, partitions) for place in pack.places} == {pack.partition}
        assert pack.places == sorted(pack.places)


@given(st.binary(max_size=40))
def test_a_key_comes_back_from_its_text(key: bytes) -> None:
    text = key_text(key)

    assert unquote_to_bytes(text) == key
    assert text.isascii()
