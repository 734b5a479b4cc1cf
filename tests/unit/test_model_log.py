"""Deltas and announcements as JSON."""

import msgspec
import numpy as np
import pytest

from recommender.errors import DeltaRefusedError
from recommender.model_log import (
    Announcement,
    Delta,
    decode_message,
    encode_announcement,
    encode_delta,
)


def _delta() -> Delta:
    return Delta(
        version="v",
        sequence=3,
        block="factors",
        made_at_ms=5,
        arrays={"rows": np.array([1, 2], np.int32), "vectors": np.array([[0.5, -1], [2, 3]], np.float32)},
        newest_event_ms=4,
        first_row=1,
        item_ids=("b", "ç"),
    )


def test_reads_back_a_delta() -> None:
    delta = _delta()

    found = decode_message(encode_delta(delta))

    assert isinstance(found, Delta)
    assert (found.version, found.sequence, found.block, found.made_at_ms) == ("v", 3, "factors", 5)
    assert (found.newest_event_ms, found.first_row, found.item_ids) == (4, 1, ("b", "ç"))
    np.testing.assert_array_equal(found.arrays["rows"], delta.arrays["rows"])
    np.testing.assert_array_equal(found.arrays["vectors"], delta.arrays["vectors"])


def test_reads_back_an_announcement() -> None:
    announcement = Announcement("v2", "v2.00000000.snapshot", 9)

    assert decode_message(encode_announcement(announcement)) == announcement


def test_is_json_that_others_can_read() -> None:
    decoded = msgspec.json.decode(encode_delta(_delta()))

    assert decoded["arrays"]["vectors"]["dtype"] == "<f4"
    assert decoded["arrays"]["vectors"]["shape"] == [2, 2]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"version":"v","block":"snapshot","made_at_ms":1}',
        b'{"version":"v","block":"events","made_at_ms":1,"arrays":{"rows":{"dtype":"|O","shape":[1],"base64":"AAAA"}}}',
        b'{"version":"v","block":"events","made_at_ms":1,"arrays":{"rows":{"dtype":"<i4","shape":[9],"base64":"AAAAAA=="}}}',
        b'{"version":"v","block":"events","made_at_ms":1,"arrays":{"rows":{"dtype":"<i4","shape":[1],"base64":"AAAA"}}}',
    ],
)
def test_refuses_what_the_codec_does_not_write(payload: bytes) -> None:
    with pytest.raises(DeltaRefusedError):
        decode_message(payload)
