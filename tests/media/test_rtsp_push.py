"""RTSP the other way: a stream pushed to another server that wants to know who we are, and played there."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.accounts.proofs import Proof
from media._core import Event
from media.relay import Relay
from tests.media.house import HOST, House, play
from tests.media.house import push as publish
from tests.media.test_pull import certificates

USER, SECRET = "AKTEST", "aSecret40"


@dataclass
class Other(House):
    rtsps: int = 0


@pytest.fixture
async def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Other]:
    """Another server: only who has the key may publish."""
    async with Relay(play_key=b"other", rtp_host=HOST, rtp_port_min=22400, rtp_port_max=22599, threads=1) as relay:
        rtsp = relay.listen_rtsp(HOST, 0, realm="Others")
        root, _ = certificates(tmp_path)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        chain = str(tmp_path / "server.pem")
        rtsps = relay.listen_rtsps(HOST, 0, certificate=chain, key=chain, realm="Others")
        other = Other(relay, 0, rtsp, relay.listen_http(HOST, 0, "/nonexistent"), rtsps=rtsps)

        def decide(other: House, event: Event) -> None:
            proof = Proof.read(event.detail)
            assert ("challenged" in event.detail) == (proof is None)
            if proof is not None and proof.user == USER and proof.fits(SECRET):
                other.accept(event)
            else:
                relay.refuse_publish(int(event.detail["ticket"]), "no", unauthorized=True)

        other.decide = decide
        relay.listen(other.handle)
        yield other


@pytest.mark.parametrize("transport", ["tcp", "udp", "tls"])
async def test_what_is_pushed_is_played_unchanged(
    house: House, other: Other, clips: dict[str, Path], group_clips: dict[str, Path], transport: str
) -> None:
    source = (group_clips if transport == "udp" else clips)["libx264"]
    server = f"localhost:{other.rtsps}" if transport == "tls" else f"{HOST}:{other.rtsp}"
    scheme = "rtsps" if transport == "tls" else "rtsp"
    url = f"{scheme}://{USER}:{SECRET}@{server}/live/cam"

    def decide(house: House, event: Event) -> None:
        receiver = house.accept(event)
        house.relay.open_push(receiver, url, allow_private=True, transport="udp" if transport == "udp" else "tcp")

    house.decide = decide
    publisher = await publish(house, source, "cam")
    try:
        await other.event("first_key_frame")
        peer = (await house.event("push_connected")).detail["peer"]
        assert peer.rpartition(":")[2] == server.rpartition(":")[2]
        [push] = house.relay.pushes()
        assert (push.state, push.url, push.failures) == ("pushing", f"{scheme}://{server}/live/cam", 0)
        assert house.stream("cam").viewers["rtsp"] == 0
        stream = other.stream("cam")
        assert (stream.transport, stream.payload, stream.audio_codec) == ("rtsp", "rtp", "AAC")
        played = await asyncio.to_thread(play, other.flv("cam"))
        sent = await asyncio.to_thread(play, str(source))
        assert (await house.event("push_ended")).detail["reason"] == "the stream is over"
        assert (await other.event("disconnected")).detail["reason"] == "the publisher ended the stream"
    finally:
        if publisher.returncode is None:
            publisher.terminate()
        await asyncio.wait_for(publisher.wait(), 10)
    if transport != "udp":
        assert played.pictures == sent.pictures
        assert len(set(played.sound) & set(sent.sound)) >= len(set(sent.sound)) - 6
    else:
        # Datagrams begin with the second group; the last pictures may be overtaken by the goodbye.
        assert set(played.pictures) <= set(sent.pictures)
        assert len(played.pictures) >= 40


async def test_who_is_pushed_to_over_tls_hears_that_the_push_is_closed(
    house: House, other: Other, clips: dict[str, Path]
) -> None:
    publisher = await publish(house, clips["libx264"], "cam")
    try:
        await house.event("first_key_frame")
        url = f"rtsps://{USER}:{SECRET}@localhost:{other.rtsps}/live/cam"
        push = house.relay.open_push(house.stream("cam").receiver, url, allow_private=True)
        await other.event("first_key_frame")
        house.relay.close_push(push)
        assert (await house.event("push_ended")).detail["reason"] == "closed"
        assert (await other.event("disconnected")).detail["reason"] == "the publisher ended the stream"
    finally:
        publisher.terminate()
        await asyncio.wait_for(publisher.wait(), 10)
