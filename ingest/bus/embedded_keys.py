"""Names in the embedded bus, and how its ids are positions."""

from ingest.bus.contract import Position
from ingest.topics import Topic

LOGS = b"bus:logs"
TRIMMED = b"bus:trimmed"
BYTES_HELD = b"bus:bytes"

FIRST_ID = b"0-0"


def stream_key(topic: Topic, partition: int) -> bytes:
    """The stream that is one partition."""
    return f"bus:stream:{topic.name}:{partition}".encode()


def table_key(topic: Topic) -> bytes:
    """The hash of latest values."""
    return f"bus:table:{topic.name}".encode()


def split_id(message_id: bytes) -> tuple[int, int]:
    """`b"1700-5"` is (1700, 5)."""
    ms, _, sequence = message_id.partition(b"-")
    return int(ms), int(sequence)


def id_of(position: Position) -> bytes:
    """The message a position lies in."""
    return b"%d-%d" % (position.major, position.minor)


def position_of(message_id: bytes, index: int = 0) -> Position:
    """Entry `index` of a message."""
    ms, sequence = split_id(message_id)
    return Position(ms, sequence, index)
