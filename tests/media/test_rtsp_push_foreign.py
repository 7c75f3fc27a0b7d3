"""RTSP pushed to the servers of others: GStreamer's, which may want to know who we are, and FFmpeg's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from media._core import Event
from tests.media.house import HOST, House, Played, play
from tests.media.ports import listening
from tests.media.test_rtmp_out import process
from tests.media.test_rtsp_publish import record
from tests.media.test_rtsp_pull import foreign
from tests.ports import free_port

GROUP = 25
CUT = 10
"""Pictures that a server drops when it is told of the end: those of the 200 ms for which it holds datagrams back."""


@asynccontextmanager
async def pushed(house: House, source: Path, url: str, transport: str) -> AsyncIterator[None]:
    """The source is published to us and goes on to `url`; entered once it does, left when it is over."""

    def decide(house: House, event: Event) -> None:
        way: Literal["udp", "tcp"] = "udp" if transport == "udp" else "tcp"
        house.relay.open_push(house.accept(event), url, allow_private=True, transport=way)

    house.decide = decide
    publisher = await record(house, source, "cam", "tcp")
    try:
        await house.event("push_connected")
        yield
        ended = await house.event("push_ended")
        assert ended.detail["reason"] == "the stream is over"
        assert not [event for event in house.events if event.kind == "push_failed"]
    finally:
        if publisher.returncode is None:
            publisher.terminate()
        await asyncio.wait_for(publisher.wait(), 10)


def compare(taken: Played, source: Path, transport: str) -> None:
    """What came is what was sent; in datagrams from one of the first key frames on, and but for the end."""
    sent = play(str(source)).pictures
    if transport == "tcp":
        assert taken.pictures == sent
    else:
        first = sent.index(taken.pictures[0])
        assert first % GROUP == 0
        assert taken.pictures == sent[first : first + len(taken.pictures)]
        assert len(sent) - first - len(taken.pictures) <= CUT


@pytest.mark.parametrize(
    ("auth", "transport"), [("none", "tcp"), ("basic", "udp"), ("digest", "tcp"), ("digest", "udp")]
)
async def test_gstreamers_server_records_what_we_push(
    house: House, group_clips: dict[str, Path], tmp_path: Path, auth: str, transport: str
) -> None:
    source = group_clips["libx264"]
    async with foreign(auth, str(tmp_path)) as port:
        async with pushed(house, source, f"rtsp://me:secret@{HOST}:{port}/test", transport):
            [shown] = house.relay.pushes()
            assert (shown.state, shown.url) == ("pushing", f"rtsp://{HOST}:{port}/test")
        async with asyncio.timeout(20):
            while not (tmp_path / "over").exists():  # noqa: ASYNC110  (another process)
                await asyncio.sleep(0.02)
    compare(await asyncio.to_thread(play, str(tmp_path / "taken.h264")), source, transport)
    assert len((await asyncio.to_thread(play, str(tmp_path / "taken.aac"))).sound) > 20


async def test_gstreamers_server_refuses_a_wrong_secret(
    house: House, group_clips: dict[str, Path], tmp_path: Path
) -> None:
    async with foreign("digest", str(tmp_path)) as port:
        publisher = await record(house, group_clips["libx264"], "cam", "tcp")
        try:
            await house.event("first_key_frame")
            url = f"rtsp://me:wrong@{HOST}:{port}/test"
            house.relay.open_push(house.stream("cam").receiver, url, allow_private=True)
            failed = await house.event("push_failed")
            assert failed.detail["cause"] == "unauthorized"
            assert "wrong" not in str(failed.detail)
        finally:
            publisher.terminate()
            await asyncio.wait_for(publisher.wait(), 10)


@pytest.mark.parametrize(("codec", "transport"), [("libx264", "tcp"), ("libx265", "udp")])
async def test_ffmpegs_server_takes_what_we_push(
    house: House, group_clips: dict[str, Path], tmp_path: Path, codec: str, transport: str
) -> None:
    port = free_port()
    source, out, url = group_clips[codec], tmp_path / "taken.mkv", f"rtsp://{HOST}:{port}/live/cam"
    command = ("ffmpeg", "-v", "error", "-rtsp_flags", "listen", "-i", url, "-c", "copy", str(out))
    async with process(*command) as server:
        await listening(port)
        async with pushed(house, source, url, transport):
            pass
        await asyncio.wait_for(server.wait(), 15)
    taken = await asyncio.to_thread(play, str(out))
    assert taken.codecs == {"video": {"libx264": "h264", "libx265": "hevc"}[codec], "audio": "aac"}
    compare(taken, source, transport)
