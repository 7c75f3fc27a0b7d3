"""Properties of SIP's syntax: write∘read is the identity, streams may be cut anywhere, noise raises one error only."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip import (
    Auth,
    CSeq,
    Framer,
    Headers,
    Message,
    NameAddr,
    Request,
    Response,
    SipParseError,
    Uri,
    Via,
    parse,
    sdp,
)
from sip.digest import Algorithm, Authenticator, DigestClient, Verdict
from tests.fuzz.sip_syntax import check_description, check_message, check_stream, check_text, read_all, seeds

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~", min_size=1, max_size=12)
NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
HOST = st.one_of(
    st.ip_addresses().map(str),
    st.text("0123456789", min_size=1, max_size=10),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=20),
)
PORT = st.none() | st.integers(0, 65535)
PRINTABLE = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('"\\<>;,:大门é'), max_size=20)
URI_TEXT = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()%[]/&+$", max_size=8)


def params(values: st.SearchStrategy[str]) -> st.SearchStrategy[Mapping[str, str | None]]:
    return st.dictionaries(NAME, st.none() | values, max_size=3)


URIS = st.builds(
    Uri,
    st.none() | st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/%", min_size=1, max_size=24),
    HOST,
    PORT,
    st.sampled_from(["sip", "sips"]),
    params=params(URI_TEXT),
    headers=params(st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()%[]/+$", max_size=8)),
)
TARGETS = st.builds(
    Uri, st.none() | st.text("0123456789", min_size=1, max_size=20), HOST, PORT, params=params(URI_TEXT)
)
VIAS = st.builds(
    Via,
    st.sampled_from(["UDP", "TCP", "TLS"]),
    HOST,
    PORT,
    st.fixed_dictionaries({"branch": TOKEN, "rport": st.none()}),
)
ADDRESSES = st.builds(NameAddr, URIS, PRINTABLE, params(PRINTABLE))
FIELDS = st.lists(st.tuples(NAME.map("X-{}".format), PRINTABLE.map(str.strip)), max_size=4)
BODIES = st.binary(max_size=64)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    method = draw(st.sampled_from(["REGISTER", "INVITE", "MESSAGE", "ACK", "x-own.method"]))
    fields: list[tuple[str, object]] = [
        *(("Via", via) for via in draw(st.lists(VIAS, min_size=1, max_size=3))),
        ("From", draw(ADDRESSES)),
        ("To", draw(ADDRESSES)),
        ("Call-ID", draw(TOKEN)),
        ("CSeq", CSeq(draw(st.integers(0, 2**31 - 1)), method)),
        *(("Contact", contact) for contact in draw(st.lists(ADDRESSES, max_size=2))),
        *draw(FIELDS),
    ]
    headers, body = Headers(fields), draw(BODIES)
    if draw(st.booleans()):
        return Request(method, draw(TARGETS), headers, body)
    return Response(draw(st.integers(100, 699)), draw(PRINTABLE), headers, body)


@given(messages())
def test_a_message_written_reads_the_same(message: Message) -> None:
    again = parse(bytes(message))
    assert type(again) is type(message)
    assert read_all(again) == read_all(message)
    assert list(again.headers)[:-1] == list(message.headers)
    assert bytes(again) == bytes(message)


@given(URIS)
def test_a_uri_written_reads_the_same(uri: Uri) -> None:
    assert Uri.parse(str(uri)) == uri


@given(ADDRESSES)
def test_an_address_written_reads_the_same(address: NameAddr) -> None:
    assert NameAddr.parse(str(address)) == address


@given(st.lists(ADDRESSES, min_size=1, max_size=4))
def test_joined_addresses_come_apart_again(addresses: list[NameAddr]) -> None:
    headers = Headers([("Contact", ", ".join(map(str, addresses)))])
    assert list(headers.contacts) == addresses


@given(st.builds(Auth, TOKEN, st.dictionaries(NAME, PRINTABLE, min_size=1, max_size=6)))
def test_credentials_written_read_the_same(auth: Auth) -> None:
    assert Auth.parse(str(auth)) == auth


@given(st.binary(max_size=200), st.sampled_from(seeds()), st.integers(0, 400), st.integers(0, 400))
def test_noise_in_a_message_raises_nothing_else(noise: bytes, seed: bytes, start: int, stop: int) -> None:
    data = seed[:start] + noise + seed[stop:]
    check_message(data)
    check_description(data)
    check_text(data)


@given(st.binary(max_size=400))
def test_noise_alone_raises_nothing_else(noise: bytes) -> None:
    check_message(noise)
    check_description(noise)
    check_text(noise)


@given(
    st.lists(messages(), min_size=1, max_size=4), st.lists(st.integers(0, 1 << 16), max_size=8), st.binary(max_size=40)
)
def test_a_stream_may_be_cut_anywhere(sent: list[Message], cuts: list[int], rest: bytes) -> None:
    stream = b"\r\n\r\n".join(bytes(message) for message in sent)
    check_stream(stream + rest, cuts)
    framer = Framer()
    framer.handle_data(0.0, stream)
    received = [framer.poll_message() for _ in sent]
    assert [bytes(item) for item in received if not isinstance(item, SipParseError | None)] == [*map(bytes, sent)]
    assert framer.poll_message() is None


@given(st.data())
def test_a_framer_keeps_its_bound(data: st.DataObject) -> None:
    framer = Framer(max_body=1000)
    for _ in range(20):
        framer.handle_data(0.0, data.draw(st.sampled_from([b"A" * 9000, b"SIP/2.0 200 OK\r\n", b"a: b\r\n" * 2000])))
        try:
            while framer.poll_message() is not None:
                pass
        except SipParseError:
            return
        assert len(framer._buffer) <= 64 * 1024


MEDIA = st.builds(
    sdp.Media,
    st.sampled_from(["video", "audio"]),
    st.integers(0, 65535),
    st.sampled_from(["RTP/AVP", "TCP/RTP/AVP"]),
    st.lists(st.integers(0, 127), max_size=4, unique=True).map(tuple),
    st.dictionaries(
        st.integers(0, 127), st.builds(sdp.RtpMap, TOKEN, st.integers(1, 90000), st.none() | st.just(1)), max_size=3
    ),
    st.dictionaries(st.integers(0, 127), TOKEN, max_size=2),
    st.none() | st.sampled_from(sdp.Direction),
    st.none() | st.sampled_from(sdp.Setup),
    st.none() | st.just("new"),
    st.none() | st.ip_addresses().map(str),
    st.lists(st.tuples(st.sampled_from(["downloadspeed", "filesize", "x"]), st.none() | TOKEN), max_size=3).map(tuple),
)
CODE = st.none() | st.integers(0, 100_000)
FORMATS = st.builds(
    sdp.MediaFormat, CODE, st.none() | st.sampled_from(["6", "1920x1080"]), CODE, CODE, CODE, CODE, CODE, CODE
)
DESCRIPTIONS = st.builds(
    sdp.SessionDescription,
    st.builds(sdp.Origin, TOKEN, st.ip_addresses().map(str), st.just("0"), st.just("0")),
    st.sampled_from(["Play", "Playback", "Download", "Embedded IPC", "大门"]),
    st.none() | st.ip_addresses().map(str),
    st.integers(0, 10**10),
    st.integers(0, 10**10),
    st.lists(MEDIA, max_size=3).map(tuple),
    st.none() | TOKEN,
    st.none() | st.sampled_from(sdp.Direction),
    st.lists(st.tuples(TOKEN.map("x-{}".format), st.none() | TOKEN), max_size=2).map(tuple),
    st.none() | st.integers(0, 0xFFFFFFFF).map("{:010d}".format),
    st.none() | FORMATS,
)


@given(DESCRIPTIONS)
def test_a_description_written_reads_the_same(description: sdp.SessionDescription) -> None:
    again = sdp.parse(bytes(description))
    assert again == description
    assert again.ignored == ()


@given(
    st.sampled_from(Algorithm),
    st.booleans(),
    st.tuples(PRINTABLE, PRINTABLE),
    st.tuples(st.floats(0, 1e7), st.floats(0, 59.8)),
    st.integers(0, 63),
)
def test_only_the_right_answer_passes_and_once(
    algorithm: Algorithm, qop: bool, account: tuple[str, str], times: tuple[float, float], digit: int
) -> None:
    (username, password), (now, later) = account, times
    random = iter(range(1 << 20))
    server = Authenticator(b"k" * 32, lambda size: next(random).to_bytes(size, "big"))
    client = DigestClient(username, password, lambda size: b"c" * size)
    assert client.handle_challenge([server.challenge(now, "realm", "::1", "d", algorithm=algorithm, qop=qop)])
    credentials = client.authorize("REGISTER", "sip:a@b")
    assert credentials is not None

    def verify(auth: Auth, secret: str = password) -> Verdict:
        return server.verify(
            now + later, auth, method="REGISTER", password=secret, peer="::1", device="d", algorithm=algorithm
        )

    response = credentials.params["response"]
    digit %= len(response)
    flipped = response[:digit] + ("0" if response[digit] != "0" else "1") + response[digit + 1 :]
    assert verify(Auth("Digest", {**credentials.params, "response": flipped})) is Verdict.WRONG
    assert verify(credentials, password + "x") is Verdict.WRONG
    assert verify(credentials) is Verdict.OK
    assert verify(credentials) is Verdict.REPLAYED


@pytest.mark.parametrize("control", ["\r", "\n", "\0", "\r\nVia: x", "\x7f"])
def test_nothing_can_be_smuggled_into_a_header(control: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        Headers([("Subject", f"a{control}b")])
    with pytest.raises(ValueError, match="control character"):
        Headers().adding("To", NameAddr(Uri("a", "b"), f"x{control}"))
