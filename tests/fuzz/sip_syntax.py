"""Mutates SIP messages, streams and descriptions and checks what must hold for any bytes.

`python -m tests.fuzz.sip_syntax --seconds 60`. The same `--seed` makes the same inputs. A failing input is kept under
tests/.artifacts/ and ends the run with 1.
"""

import random
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from sip import (
    Auth,
    CSeq,
    Event,
    Framer,
    Headers,
    Message,
    NameAddr,
    Request,
    SipFramingError,
    SipParseError,
    SubscriptionState,
    Uri,
    Via,
    parse,
    sdp,
)
from sip.digest import Authenticator, Verdict
from tests.fuzz._driver import Target, main

ROOT: Final = Path(__file__).parents[1]

DICTIONARY: Final = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"\n\t", b" ", b"\t", b"\0", b"\xff", b"\xb4\xf3", b"\xe5\xa4\xa7"),
    *(
        b":",
        b";",
        b",",
        b"=",
        b"<",
        b">",
        b'"',
        b"\\",
        b'\\"',
        b"@",
        b"?",
        b"&",
        b"%00",
        b"[",
        b"]",
        b"::",
        b":::1.2.3.4",
    ),
    *(b"Via: ", b"v:", b"From: ", b"To: ", b"Call-ID: x", b"CSeq: 1 ", b"Contact: *", b"Content-Length: ", b"l:"),
    *(
        b"SIP/2.0",
        b"sip:",
        b"sips:",
        b"tel:",
        b"z9hG4bK",
        b";tag=",
        b";rport",
        b";received=",
        b"Expires:",
        b"Route: <sip:a;lr>",
    ),
    *(b"REGISTER ", b"INVITE ", b"ACK ", b"MESSAGE ", b"register ", b"Digest ", b"nonce=", b"qop=auth", b"nc=00000001"),
    *(
        b"v=0\r\n",
        b"m=video 1 RTP/AVP 96\r\n",
        b"a=rtpmap:96 PS/90000\r\n",
        b"y=0115000001\r\n",
        b"f=v/2/6/25/1/1a/1/8/1\r\n",
    ),
    *(b"0", b"-1", b"65536", b"4294967296", b"2147483648", b"9" * 30, b"A" * 300, b"\xd9\xa3"),
]


def read_all(message: Message) -> list[object]:
    """Every typed reading of a message; none may raise."""
    headers = message.headers
    return [
        (message.via, message.from_, message.to, message.call_id, message.cseq, message.body),
        (headers.vias, headers.contacts, headers.contact, headers.contact_is_wildcard, headers.routes),
        (headers.record_routes, headers.expires, headers.max_forwards, headers.content_type),
        (headers.authorization, headers.proxy_authorization, headers.www_authenticate, headers.proxy_authenticate),
        (headers.event, headers.subscription_state, headers.date, headers.user_agent),
    ]


def check_message(data: bytes) -> None:
    """What is read can be written, and reads the same again."""
    try:
        message = parse(data)
    except SipParseError as error:
        assert 0 <= error.offset <= len(data) + 1, error
        assert error.clause
        return
    values = read_all(message)
    assert len(message.body) <= len(data)
    written = bytes(message)
    again = parse(written)
    assert read_all(again) == values
    assert bytes(again) == written
    if isinstance(message, Request):
        assert isinstance(again, Request)
        assert (again.method, again.uri) == (message.method, message.uri)
        assert parse(bytes(message.response(486, to_tag="t"))).via == message.via
    check_values(message.headers)


def check_values(headers: Headers) -> None:
    """A typed value reads the same from what it writes."""
    for via in headers.vias:
        assert Via.parse(str(via)) == via, via
    for address in (headers.from_, headers.to, *headers.contacts, *headers.routes):
        assert NameAddr.parse(str(address)) == address, address
        assert Uri.parse(str(address.uri)) == address.uri, address
    for auth in (headers.authorization, headers.proxy_authorization, *headers.www_authenticate):
        assert auth is None or Auth.parse(str(auth)) == auth, auth
    assert CSeq.parse(str(headers.cseq)) == headers.cseq
    if headers.event is not None:
        assert Event.parse(str(headers.event)) == headers.event
    if headers.subscription_state is not None:
        assert SubscriptionState.parse(str(headers.subscription_state)) == headers.subscription_state


def check_stream(data: bytes, cuts: list[int]) -> None:
    """A stream gives the same messages, wherever it is cut, and ends the same way."""
    whole = list(frames([data]))
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parts = [data[start:stop] for start, stop in pairwise(edges)]
    assert list(frames(parts)) == whole


def frames(parts: list[bytes]) -> Iterator[bytes | str]:
    """What a framer makes of the parts: messages as written again, refusals by their kind."""
    framer = Framer(max_body=4096)
    for part in parts:
        framer.handle_data(0.0, part)
        try:
            while (item := framer.poll_message()) is not None:
                yield "refused" if isinstance(item, SipParseError) else bytes(item)
        except SipFramingError:
            yield "broken"
            return


def check_description(data: bytes) -> None:
    """A description reads the same from what it writes."""
    try:
        description = sdp.parse(data)
    except SipParseError as error:
        assert 0 <= error.offset <= len(data) + 1, error
        return
    assert sdp.parse(bytes(description)) == description
    assert bytes(sdp.parse(bytes(description))) == bytes(description)


def check_text(data: bytes) -> None:
    """Readers of single values raise nothing else, and a server never believes noise."""
    text = data.decode("utf-8", "replace")
    for read in (Uri.parse, NameAddr.parse, Via.parse, CSeq.parse, Event.parse, SubscriptionState.parse):
        try:
            value = read(text)
        except SipParseError:
            continue
        assert read(str(value)) == value
    try:
        credentials = Auth.parse(text)
    except SipParseError:
        return
    verdict = Authenticator(b"k" * 32, random.Random(0).randbytes).verify(
        0.0, credentials, method="REGISTER", password="p", peer="::1", device="1"
    )
    assert verdict in {Verdict.MALFORMED, Verdict.FOREIGN_NONCE}


def seeds() -> list[bytes]:
    """All vectors, their bodies, and their header values."""
    messages = [path.read_bytes() for path in sorted((ROOT / "vectors" / "sip").glob("*/*.dat"))]
    bodies = [body for message in messages if (body := message.partition(b"\r\n\r\n")[2])]
    values = {line.partition(b": ")[2] for message in messages for line in message.split(b"\r\n")}
    return messages + bodies + sorted(values - {b""})


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A few random edits: bytes flipped, slices cut, doubled or moved, words put in, two inputs spliced."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(buffer) + 1)
        end = min(len(buffer), at + rng.choice((1, 1, 2, 8, 64)))
        match rng.randrange(6):
            case 0 if at < len(buffer):
                buffer[at] = rng.randrange(256)
            case 1:
                del buffer[at:end]
            case 2:
                buffer[at:at] = buffer[at:end] * rng.choice((1, 2, 30))
            case 3:
                buffer[at:at] = rng.choice(DICTIONARY)
            case 4:
                buffer[at:end] = rng.choice(DICTIONARY)
            case 5:
                start = rng.randrange(len(other) + 1)
                buffer[at:] = other[start:]
    return bytes(buffer[:20_000])


CORPUS: Final = seeds()
TARGET: Final = Target(
    "sip_syntax",
    lambda rng: mutate(rng, rng.choice(CORPUS), rng.choice(CORPUS)),
    (
        lambda rng, data: check_message(data),
        lambda rng, data: check_stream(data + rng.choice(CORPUS), [rng.randrange(1 << 16) for _ in range(4)]),
        lambda rng, data: check_description(data),
        lambda rng, data: check_text(data),
    ),
)


if __name__ == "__main__":
    sys.exit(main(TARGET, __doc__))
