"""`sip.framing`: messages out of a byte stream."""

import pytest

from sip import Deviation, Message, SipFramingError, SipParseError
from sip.framing import Framer


def options(number: int, body: bytes = b"") -> bytes:
    return (
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
        b"To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: %d OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: %d\r\n\r\n"
        % (number, number, len(body))
    ) + body


def drain(framer: Framer) -> list[Message | SipParseError]:
    items = []
    while (item := framer.poll_message()) is not None:
        items.append(item)
    return items


def numbers(items: list[Message | SipParseError]) -> list[int]:
    return [item.cseq.number for item in items if not isinstance(item, SipParseError)]


def test_messages_come_out_whole_wherever_the_stream_is_split() -> None:
    stream = options(1, b"body\r\n\r\nOPTIONS") + b"\r\n\r\n" + options(2) + options(3, b"\0" * 9)
    for cut in range(len(stream) + 1):
        framer, items = Framer(), []
        for part in (stream[:cut], stream[cut:]):
            framer.handle_data(0.0, part)
            items += drain(framer)
        assert numbers(items) == [1, 2, 3]
        assert not isinstance(items[0], SipParseError)
        assert items[0].body == b"body\r\n\r\nOPTIONS"


def test_a_stream_that_drips_byte_by_byte() -> None:
    framer, items = Framer(), []
    for code in options(1, b"abc") + options(2):
        framer.handle_data(0.0, bytes([code]))
        items += drain(framer)
    assert numbers(items) == [1, 2]


def test_two_line_ends_between_messages_are_a_ping_that_gets_one_line_end() -> None:
    framer = Framer()
    framer.handle_data(0.0, b"\r\n")
    assert (framer.poll_message(), framer.poll_output()) == (None, None)
    framer.handle_data(1.0, b"\r\n")
    assert (framer.poll_message(), framer.poll_output(), framer.poll_output()) == (None, b"\r\n", None)
    assert framer.pings == 1
    assert framer.next_timeout() is None


def test_a_missing_content_length_means_no_body() -> None:
    framer = Framer()
    framer.handle_data(0.0, options(1).replace(b"Content-Length: 0\r\n", b"") + options(2))
    first, second = drain(framer)
    assert numbers([first, second]) == [1, 2]
    assert not isinstance(first, SipParseError)
    assert first.deviations == {Deviation.NO_CONTENT_LENGTH}


@pytest.mark.parametrize(
    "message",
    [
        options(7, b"xyz").replace(b"CSeq: 7 OPTIONS", b"CSeq: what"),
        options(7, b"xyz").replace(b"Call-ID: x", b"Call-ID: \0"),
        options(7, b"xyz").replace(b"Call-ID: x\r\n", b""),
    ],
)
def test_a_message_that_cannot_be_read_does_not_break_the_stream(message: bytes) -> None:
    framer = Framer()
    framer.handle_data(0.0, message + options(8))
    bad, good = drain(framer)
    assert isinstance(bad, SipParseError)
    assert numbers([good]) == [8]


@pytest.mark.parametrize(
    "data",
    [
        options(1).replace(b"Content-Length: 0", b"Content-Length: -1"),
        options(1).replace(b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 5"),
        options(1).replace(b"Content-Length: 0", b"Content-Length: 99999999999999999999999"),
        options(1).replace(b"Content-Length: 0", b"Content-Length: 1048577"),
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n" + b"a: b\r\n" * 20000,
    ],
)
def test_lost_borders_break_the_stream_for_good(data: bytes) -> None:
    framer = Framer()
    framer.handle_data(0.0, data)
    for _ in range(2):
        with pytest.raises(SipFramingError):
            framer.poll_message()
        framer.handle_data(0.0, options(2))


def test_what_came_before_the_break_is_still_given() -> None:
    framer = Framer()
    framer.handle_data(0.0, options(1) + b"GET / HTTP/1.1\r\n")
    assert numbers([item for item in [framer.poll_message()] if item]) == [1]
    with pytest.raises(SipFramingError):
        framer.poll_message()


def test_a_message_must_be_complete_within_its_time() -> None:
    framer = Framer(patience=30.0)
    framer.handle_data(100.0, options(1) + options(2)[:40])
    assert numbers(drain(framer)) == [1]
    assert framer.next_timeout() == 130.0
    framer.handle_data(129.0, options(2)[40:60])
    drain(framer)
    framer.handle_timeout(129.9)
    assert framer.poll_message() is None
    assert framer.next_timeout() == 130.0, "dripping does not earn more time"
    framer.handle_timeout(130.0)
    with pytest.raises(SipFramingError):
        framer.poll_message()


def test_a_complete_message_disarms_the_timer() -> None:
    framer = Framer()
    framer.handle_data(0.0, options(1)[:10])
    drain(framer)
    framer.handle_data(1.0, options(1)[10:])
    assert numbers(drain(framer)) == [1]
    assert framer.next_timeout() is None
