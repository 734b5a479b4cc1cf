"""How Pulsar is addressed, and how its ids and keys are ours."""

import pytest

from ingest.bus.contract import Position
from ingest.bus.pulsar_address import parse_address
from ingest.bus.pulsar_messages import follows, key_text
from ingest.errors import BusError
from ingest.topics import EVENTS, MODEL


def test_a_short_url_has_defaults() -> None:
    address = parse_address("pulsar://broker.example")

    assert (address.service_url, address.admin_url) == ("pulsar://broker.example:6650", "http://broker.example:8080")
    assert address.path(EVENTS) == "public/afterclick/events"


def test_a_full_url_says_everything() -> None:
    address = parse_address("pulsar://127.0.0.1:16650/shop/live?admin=https://admin.example:8443/")

    assert (address.service_url, address.admin_url) == ("pulsar://127.0.0.1:16650", "https://admin.example:8443")
    assert address.path(EVENTS, 3) == "shop/live/events-partition-3"
    assert address.path(MODEL, 0) == "shop/live/model"


@pytest.mark.parametrize(
    "url", ["pulsar://", "http://a", "pulsar://a/tenant", "pulsar://a/b/c/d", "pulsar://a?token=x", "valkey://a"]
)
def test_refuses_another_url(url: str) -> None:
    with pytest.raises(BusError, match="wanted pulsar://"):
        parse_address(url)


@pytest.mark.parametrize(
    ("last", "current", "does"),
    [
        ((5, 0, 0), (5, 1, 0), True),
        ((5, 7, 3), (5, 8, 0), True),
        ((5, 7, 0), (5, 7, 1), True),
        ((5, 7, 0), (5, 7, 0), False),
        ((5, 7, 1), (5, 7, 0), False),
        ((5, 7, 0), (5, 7, 2), False),
        ((5, 7, 0), (5, 8, 1), False),
        ((5, 7, 0), (5, 9, 0), False),
        ((5, 7, 0), (5, 6, 0), False),
        ((5, 7, 0), (6, 0, 0), False),
    ],
)
def test_knows_what_follows(last: tuple[int, int, int], current: tuple[int, int, int], does: bool) -> None:
    def at(ledger: int, entry: int, batch_index: int) -> Position:
        return Position(ledger, entry, batch_index << 16)

    assert follows(at(*last), at(*current)) is does


def test_an_ascii_key_stays_readable() -> None:
    assert key_text(b"85123A") == "85123A"
    assert key_text(b"a b/%") == "a%20b%2F%25"
