"""Digest at the RTSP port: foreign players and encoders that have an access key get in, others do not."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.accounts.proofs import Proof
from media._core import Event
from media.relay import Relay
from sip.digest import Algorithm, digest
from tests.media.house import FAR, HOST, House, ffmpeg
from tests.media.rtsp_client import Answer, Client

REALM = "Streams of ours"
USER, SECRET = "AKTEST", "aSecret40"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Only who has the key may play or publish; those who are asked about are noted."""
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=23200, rtp_port_max=23399, threads=1) as relay:
        rtmp, rtsp = relay.listen_rtmp(HOST, 0), relay.listen_rtsp(HOST, 0, realm=REALM)
        house = House(relay, rtmp, rtsp, relay.listen_http(HOST, 0, "/nonexistent"))

        def knows(event: Event) -> bool:
            proof = Proof.read(event.detail)
            return proof is not None and proof.user == USER and proof.fits(SECRET)

        def decide(event: Event) -> None:
            house.handle(event)
            if event.kind == "play":
                relay.answer_play(int(event.detail["ticket"]), knows(event))

        def publisher(house: House, event: Event) -> None:
            if event.detail["protocol"] == "rtmp" or knows(event):
                house.accept(event, private=True)
            else:
                relay.refuse_publish(int(event.detail["ticket"]), "no", unauthorized=True)

        house.decide = publisher
        relay.listen(decide)
        yield house


def url(house: House, name: str = "cam", user: str = USER, secret: str = SECRET) -> str:
    return f"rtsp://{user}:{secret}@{HOST}:{house.rtsp}/live/{name}"


async def ended(program: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Its status and what it said; it is ended if it does not end."""
    try:
        async with asyncio.timeout(40):
            out, errors = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    return program.returncode, (out or b"").decode() + (errors or b"").decode()


async def probe(address: str, transport: str) -> tuple[int | None, str]:
    options = ("-v", "error", "-rtsp_transport", transport, "-show_entries", "stream=codec_name", "-of", "csv=p=0")
    pipe = asyncio.subprocess.PIPE
    return await ended(
        await asyncio.create_subprocess_exec("ffprobe", *options, address, stdout=pipe, stderr=pipe)
    )  # fmt: skip


async def source(house: House, clip: Path) -> asyncio.subprocess.Process:
    """FFmpeg publishes by RTMP until it is stopped."""
    return await ffmpeg("-re", "-stream_loop", "20", "-i", str(clip), "-c", "copy", "-f", "flv", house.url("cam"))


async def stop(program: asyncio.subprocess.Process) -> None:
    if program.returncode is None:
        program.kill()
    await program.communicate()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_ffmpeg_publishes_and_plays_with_a_key_and_not_without(
    house: House, clips: dict[str, Path], transport: str
) -> None:
    def record(address: str) -> tuple[str, ...]:
        return ("-re", "-stream_loop", "5", "-i", str(clips["libx264"]), "-c", "copy", "-f", "rtsp",
                "-rtsp_transport", transport, address)  # fmt: skip

    code, said = await ended(await ffmpeg(*record(url(house, secret="another"))))
    assert code != 0
    assert "401" in said
    assert house.relay.stream("live", "cam") is None
    publisher = await ffmpeg(*record(url(house)))
    try:
        await house.event("first_key_frame")
        assert house.stream("cam").transport == "rtsp"
        code, said = await probe(url(house), transport)
        assert (code, sorted(said.split())) == (0, ["aac", "h264"])
        for wrong in (url(house, secret="another"), url(house, user="nobody")):
            code, said = await probe(wrong, transport)
            assert code != 0
            assert "401" in said
        signed = f"rtsp://{HOST}:{house.rtsp}/live/cam?{house.relay.sign('live', 'cam', FAR)}"
        assert (await probe(signed, transport))[0] == 0, "a signed address needs no key"
    finally:
        await stop(publisher)


async def test_gstreamer_plays_with_a_key(house: House, clips: dict[str, Path]) -> None:
    publisher = await source(house, clips["libx264"])
    try:
        await house.event("first_key_frame")
        for secret, good in ((SECRET, True), ("another", False)):
            player = await asyncio.create_subprocess_exec(
                "gst-launch-1.0", "-q", "rtspsrc", f"location=rtsp://{HOST}:{house.rtsp}/live/cam", "protocols=tcp",
                f"user-id={USER}", f"user-pw={secret}", "!", "rtph264depay", "!", "fakesink", "num-buffers=3",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            code, said = await ended(player)
            assert (code == 0) is good, said
    finally:
        await stop(publisher)


def answer_to(challenge: Answer, address: str, method: str, secret: str = SECRET, *, count: int = 1) -> str:
    """The Authorization header that the challenge asks for, with SHA-256."""
    given = challenge.headers["www-authenticate"]
    nonce = re.search(r'nonce="([^"]+)"', given)
    algorithm = re.search(r"algorithm=([A-Z0-9-]+)", given)
    assert nonce
    assert algorithm
    fields = {"username": USER, "realm": REALM, "nonce": nonce[1], "uri": address}
    counted = {"qop": "auth", "nc": f"{count:08x}", "cnonce": "abc"}
    kind = Algorithm(algorithm[1])
    response = digest(kind, **fields, password=secret, method=method, **counted)
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    tail = f'algorithm={kind.value}, response="{response}", qop=auth, nc={counted["nc"]}, cnonce="abc"'
    return f"Digest {quoted}, {tail}"


def change(name: str) -> Callable[[str], str]:
    """Changes one letter of what stands under this name."""

    def changed(header: str) -> str:
        at = header.index(f"{name}=") + len(name) + 3
        return header[:at] + ("0" if header[at] != "0" else "1") + header[at + 1 :]

    return changed


async def test_every_letter_of_an_answer_counts_and_each_answer_once(house: House, clips: dict[str, Path]) -> None:
    publisher = await source(house, clips["libx264"])
    address = f"rtsp://{HOST}:{house.rtsp}/live/cam"
    try:
        await house.event("first_key_frame")
        for field in ("username", "realm", "nonce", "uri", "response", "cnonce"):
            client = await Client.open(HOST, house.rtsp)
            challenge = await client.ask("DESCRIBE", address)
            assert challenge.status == 401
            header = answer_to(challenge, address, "DESCRIBE")
            refused = await client.ask("DESCRIBE", address, Authorization=change(field)(header))
            assert (refused.status, "stale" in refused.headers["www-authenticate"]) == (401, False), field
            client.close()
        client = await Client.open(HOST, house.rtsp)
        challenge = await client.ask("DESCRIBE", address)
        header = answer_to(challenge, address, "DESCRIBE")
        for method, asked in (("DESCRIBE", address.replace("cam", "yard")), ("SETUP", f"{address}/trackID=0")):
            fields = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Authorization": header}
            assert (await client.ask(method, asked, **fields)).status in {401, 404}, "made for something else"
        challenge = await client.ask("DESCRIBE", address)
        header = answer_to(challenge, address, "DESCRIBE")
        assert (await client.ask("DESCRIBE", address, Authorization=header)).status == 200
        again = await client.ask("DESCRIBE", address, Authorization=header)
        assert (again.status, "stale" in again.headers["www-authenticate"]) == (401, False)
        other = await Client.open(HOST, house.rtsp)
        elsewhere = await other.ask("DESCRIBE", address, Authorization=header)
        assert (elsewhere.status, "stale=true" in elsewhere.headers["www-authenticate"]) == (401, True)
        other.close()
        client.close()
    finally:
        await stop(publisher)


async def test_who_guesses_is_not_asked_for_ever(house: House, clips: dict[str, Path]) -> None:
    publisher = await source(house, clips["libx264"])
    address = f"rtsp://{HOST}:{house.rtsp}/live/cam"
    try:
        await house.event("first_key_frame")
        client = await Client.open(HOST, house.rtsp)
        answer = await client.ask("DESCRIBE", address)
        seen = []
        for guess in ("a", "b", "c"):
            header = answer_to(answer, address, "DESCRIBE", guess)
            answer = await client.ask("DESCRIBE", address, Authorization=header)
            seen.append(answer.status)
        assert seen == [401, 401, 403]
        client.close()
    finally:
        await stop(publisher)
