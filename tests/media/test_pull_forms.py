"""Transport streams and HLS that are fetched, and datagrams: made by ffmpeg, played by ffmpeg, identical in between."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from media._core import CoreError, Event
from media.relay import Relay
from tests.media.house import HOST, ffmpeg, md5, play, run
from tests.media.test_play_forms import http
from tests.media.test_pull import kinds, listen, relay_at, until
from tests.ports import free_port

PICTURES, TONE = "testsrc=size=320x192:rate=25", "sine=440:sample_rate=16000"
CODINGS = {
    "h264": ["-c:v", "libx264", "-bf", "2"],
    "h265": ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=25:min-keyint=25:bframes=0"],
}


def film(path: Path, seconds: int = 4, coding: str = "h264", *options: str) -> None:
    """Test pictures with a key frame a second, and a tone."""
    run(
        "-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", TONE, "-t", str(seconds), *CODINGS[coding], "-g", "25",
        "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "1", *options, str(path),
    )  # fmt: skip


def pictures(path: Path) -> list[str]:
    """The digest of every decoded picture."""
    return play(str(path)).pictures


def sounds(path: Path) -> list[str]:
    """The digest of every packet of sound, without ADTS headers."""
    header = 7 if path.suffix == ".ts" else 0
    with av.open(str(path)) as container:
        return [md5(bytes(packet)[header:]) for packet in container.demux(audio=0) if packet.size]


class Files:
    """A server of the files in a directory, with ranges; what was asked for is kept."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        self.broken = False
        self.port = 0
        self.open = asyncio.Event()  # nothing is answered before
        self.open.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split(" ")[1]
            self.asked.append(target)
            await self.open.wait()
            path = self.root / target.split("?")[0].lstrip("/")
            if self.broken or not path.is_file():
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            else:
                data, status = path.read_bytes(), "200 OK"
                if asked := re.search(r"(?i)^range: bytes=(\d+)-(\d+)", head, re.MULTILINE):
                    data, status = data[int(asked[1]) : int(asked[2]) + 1], "206 Partial Content"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the relay may leave at any time
        finally:
            writer.close()

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.port}/{name}"


@asynccontextmanager
async def files(root: Path) -> AsyncIterator[Files]:
    served = Files(root)
    server = await asyncio.start_server(served.handle, HOST, 0)
    served.port = server.sockets[0].getsockname()[1]
    async with server:
        yield served


async def watch(relay: Relay, server: Files, name: str, out: Path, limit: float = 25) -> list[Event]:
    """Pulls a file and keeps what a viewer gets until it is over."""
    events = listen(relay)
    server.open.clear()
    door = relay.listen_http(HOST, 0, "/nonexistent")
    pulled = relay.open_pull("test", "pulled", server.url(name), private=False, allow_private=True)
    viewer = asyncio.create_task(http(f"http://{HOST}:{door}/test/pulled.live.flv"))
    await until(lambda: relay.streams()[0].viewers["http-flv"] == 1)
    server.open.set()
    async with asyncio.timeout(limit):
        while "disconnected" not in kinds(events):  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)
    stream = relay.stream("test", "pulled")
    assert stream is not None
    assert not {"damaged_unit", "timestamp_jump", "key_frame_awaited"} & set(stream.faults), stream.faults
    relay.close_receiver(pulled.id)
    out.write_bytes(await asyncio.wait_for(viewer, 10))
    return events


@pytest.mark.parametrize("coding", ["h264", "h265"])
async def test_a_transport_stream_over_http_comes_out_as_it_was(tmp_path: Path, coding: str) -> None:
    source, out = tmp_path / "source.ts", tmp_path / "out.flv"
    await asyncio.to_thread(film, source, 4, coding)
    async with files(tmp_path) as server, relay_at(23600) as relay:
        events = await watch(relay, server, "source.ts", out)
    assert next(event for event in events if event.kind == "disconnected").detail["cause"] == "complete"
    assert "tracks" in kinds(events)
    assert await asyncio.to_thread(pictures, out) == await asyncio.to_thread(pictures, source)
    sent = await asyncio.to_thread(sounds, source)
    # Sound that stands before the first picture is left out.
    assert await asyncio.to_thread(sounds, out) in (sent, sent[1:])


HLS_FORMS = {
    "ts": [],
    "ts_in_ranges": ["-hls_flags", "single_file"],
    "fmp4": ["-hls_segment_type", "fmp4"],
    "fmp4_in_ranges": ["-hls_segment_type", "fmp4", "-hls_flags", "single_file"],
    "aes": ["-hls_key_info_file", "KEYS"],
}


@pytest.mark.parametrize(("form", "coding"), [*((form, "h264") for form in HLS_FORMS), ("fmp4", "h265")])
async def test_a_list_of_segments_is_played_at_its_own_pace(tmp_path: Path, form: str, coding: str) -> None:
    source, out, keys = tmp_path / "source.mp4", tmp_path / "out.flv", tmp_path / "keys.txt"
    await asyncio.to_thread(film, source, 5, coding)
    (tmp_path / "secret.key").write_bytes(bytes(range(16)))
    keys.write_text(f"secret.key\n{tmp_path / 'secret.key'}\n")
    options = [str(keys) if option == "KEYS" else option for option in HLS_FORMS[form]]
    listed = ["-i", str(source), "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", *options]
    await asyncio.to_thread(run, *listed, str(tmp_path / "list.m3u8"))
    (tmp_path / "top.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8?token=7\n")
    async with files(tmp_path) as server, relay_at(23700) as relay:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        events = await watch(relay, server, "top.m3u8", out)
        took = loop.time() - begun
    assert next(event for event in events if event.kind == "disconnected").detail["cause"] == "complete"
    assert 4.5 < took < 9, "five seconds of film"
    assert server.asked[:2] == ["/top.m3u8", "/list.m3u8?token=7"]
    assert await asyncio.to_thread(pictures, out) == await asyncio.to_thread(pictures, source)
    sent, got = await asyncio.to_thread(sounds, source), await asyncio.to_thread(sounds, out)
    assert got == sent[-len(got) :] or got == sent[: len(got)]
    assert len(sent) - len(got) <= 1


async def test_a_live_list_is_followed_without_holes(tmp_path: Path) -> None:
    source, out = tmp_path / "source.mp4", tmp_path / "out.flv"
    await asyncio.to_thread(film, source, 12)
    live = ["-re", "-i", str(source), "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "5"]
    live += ["-hls_flags", "delete_segments"]
    async with files(tmp_path) as server, relay_at(23800) as relay:
        process = await ffmpeg(*live, str(tmp_path / "live.m3u8"))
        try:
            await until(lambda: len(list(tmp_path.glob("live*.ts"))) >= 3)
            events = await watch(relay, server, "live.m3u8", out, 40)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
    assert next(event for event in events if event.kind == "disconnected").detail["cause"] == "complete"
    sent, got = await asyncio.to_thread(pictures, source), await asyncio.to_thread(pictures, out)
    assert len(got) >= 200
    assert got == sent[-len(got) :]


async def test_a_list_that_is_gone_or_wrong_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "html").write_text("<html>this is no stream</html>")
    (tmp_path / "nothing.m3u8").write_text("#EXTM3U\n#EXT-X-ENDLIST\n")
    (tmp_path / "drm.m3u8").write_text(
        '#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n'
    )
    (tmp_path / "a.ts").write_bytes(bytes(188))
    (tmp_path / "missing.m3u8").write_text(
        "#EXTM3U\n#EXTINF:1,\nb.ts\n#EXTINF:1,\nc.ts\n#EXTINF:1,\nd.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "away.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    causes = {"html": "unknown_body", "nothing.m3u8": "bad_playlist", "drm.m3u8": "encrypted"}
    causes |= {"missing.m3u8": "http_404", "away.m3u8": "complete"}
    async with files(tmp_path) as server, relay_at(23900) as relay:
        events = listen(relay)
        for name in causes:
            relay.open_pull("test", name, server.url(name), allow_private=True)
        lost: dict[str, str] = {}
        async with asyncio.timeout(20):
            while len(lost) < len(causes):
                for event in events:
                    if event.kind == "disconnected":
                        lost.setdefault(event.name, event.detail["cause"])
                await asyncio.sleep(0.01)
    assert lost.pop("away.m3u8") in ("bad_redirect", "complete")
    causes.pop("away.m3u8")
    assert lost == causes


@pytest.mark.parametrize("form", ["mpegts", "rtp_mpegts"])
async def test_datagrams_are_a_source(tmp_path: Path, form: str) -> None:
    source, out = tmp_path / "source.ts", tmp_path / "out.flv"
    await asyncio.to_thread(film, source, 4)
    port = free_port()
    to = f"{'udp' if form == 'mpegts' else 'rtp'}://{HOST}:{port}?pkt_size=1316"
    async with relay_at(24000) as relay:
        events = listen(relay)
        with pytest.raises(CoreError, match="public"):
            relay.open_pull("test", "pulled", f"udp://{HOST}:{port}")
        pulled = relay.open_pull(
            "test", "pulled", f"udp://{HOST}:{port}?source={HOST}", private=False, allow_private=True
        )
        door = relay.listen_http(HOST, 0, "/nonexistent")
        viewer = asyncio.create_task(http(f"http://{HOST}:{door}/test/pulled.live.flv"))
        await until(lambda: "connecting" in kinds(events) and relay.streams()[0].viewers["http-flv"] == 1)
        process = await ffmpeg("-re", "-i", str(source), "-c", "copy", "-f", form, to)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        stream = relay.stream("test", "pulled")
        assert stream is not None
        assert (stream.transport, stream.payload) == ("udp-ts", "ts")
        relay.close_receiver(pulled.id)
        out.write_bytes(await asyncio.wait_for(viewer, 10))
    sent, got = await asyncio.to_thread(pictures, source), await asyncio.to_thread(pictures, out)
    assert len(sent) - len(got) <= 2, "nothing tells that the last picture is complete"
    assert got[:-3] == sent[: len(got) - 3], "pictures in between refer to it"


async def test_a_multicast_group_is_joined_where_the_url_says(tmp_path: Path) -> None:
    """On the loopback interface; another group at the same port is not heard."""
    source, port = tmp_path / "source.ts", free_port()
    await asyncio.to_thread(film, source, 1)
    data = source.read_bytes()
    group, foreign = "239.255.28.181", "239.255.28.182"
    async with relay_at(24100) as relay:
        events = listen(relay)
        for name, address in (("joined", group), ("other", foreign)):
            url = f"udp://{address}:{port}?interface={HOST}"
            relay.open_pull("test", name, url, private=False, allow_private=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            await until(lambda: kinds(events).count("connecting") == 2)
            async with asyncio.timeout(20):
                while "first_key_frame" not in kinds(events):
                    for at in range(0, len(data), 1316):
                        sender.sendto(data[at : at + 1316], (group, port))
                        await asyncio.sleep(0.001)
        joined, other = relay.stream("test", "joined"), relay.stream("test", "other")
    assert joined is not None
    assert other is not None
    assert (joined.transport, joined.payload, joined.video_codec) == ("udp-ts", "ts", "H264")
    assert other.bytes_in == 0
