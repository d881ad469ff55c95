"""What the app of messages and events sends and understands."""

import pytest

from bench.stream_app import accept_key, event, field, made_at, masked, masked_frame, whole_events

HEAD = b"GET /echo HTTP/1.1\r\nHost: localhost:1\r\nsec-websocket-KEY:  dGhlIHNhbXBsZSBub25jZQ==\r\nX: Y:Z"


def test_the_key_is_answered_as_in_the_rfc() -> None:
    """RFC 6455 section 1.3 has this pair."""
    assert accept_key(field(HEAD, b"sec-websocket-key")) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert (field(HEAD, b"x"), field(HEAD, b"y")) == ("Y:Z", "")


@pytest.mark.parametrize("size", [0, 1, 4, 125])
def test_a_mask_is_its_own_inverse(size: int) -> None:
    """As RFC 6455 section 5.3 puts it on."""
    # Section 5.7 has this one.
    assert masked(b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("7f9f4d5158")
    payload = bytes(range(size))
    frame = masked_frame(payload)
    assert (frame[0], frame[1], len(frame)) == (0x82, 0x80 | size, 6 + size)
    assert masked(frame[6:], frame[2:6]) == payload


def test_an_event_tells_when_it_was_made_if_its_time_is_whole() -> None:
    """The last whole time of a piece; a time that is cut is none."""
    first, second = event(1.5), event(2.25)
    assert len(first) == 93
    assert whole_events(first + second) == 2
    assert made_at(first + second) == 2.25
    assert made_at(first + second[:12]) is None
    assert made_at(b"...") is None
