"""A real browser plays what the relay serves: pictures move, are the ones that were sent, and how late they are."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from gateway.clock import utc_now
from gateway.retention.playlists import beside
from gateway.simulator.clip import Clip, clip
from gateway.simulator.model import CLOCK_HZ, AudioCodec
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream, StreamFaults
from media._core import file_facts
from media.relay import Relay
from tests.e2e.files import serving_files
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM, PIXELS, WAIT_MS
from tests.media.test_play_forms import HOST, SPEC, SSRC
from tests.media.test_recording import SSRC as SENT_SSRC
from tests.media.test_recording import bursts, send

pytestmark = [pytest.mark.browser]

MODULES = Path(__file__).parents[2] / "api" / "console" / "node_modules"
SCRIPTS = {"hls.js": MODULES / "hls.js/dist/hls.min.js", "mpegts.js": MODULES / "mpegts.js/dist/mpegts.js"}

PAGE = "<!doctype html><video muted autoplay playsinline></video>"

MSE = """([url, type]) => new Promise((resolve, reject) => {
  const video = document.querySelector("video");
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  source.addEventListener("sourceopen", () => {
    const buffer = source.addSourceBuffer(type);
    const waiting = [];
    const next = () => {
      if (waiting.length && !buffer.updating) buffer.appendBuffer(waiting.shift());
    };
    buffer.addEventListener("updateend", () => {
      if (video.currentTime === 0 && buffer.buffered.length) {
        video.currentTime = buffer.buffered.start(0);
        resolve(true);
      }
      next();
    });
    window.breaks = () => buffer.buffered.length;
    window.latency = () => buffer.buffered.end(buffer.buffered.length - 1) - video.currentTime;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => { waiting.push(message.data); next(); };
    socket.onclose = () => reject(new Error("closed"));
    video.onerror = () => reject(new Error(video.error.message));
  });
})"""

MPEGTS = """([url, type]) => {
  const player = mpegts.createPlayer({type, isLive: true, url}, {lazyLoad: false});
  player.attachMediaElement(document.querySelector("video"));
  player.load();
  player.play();
}"""

HLS = """([url, lowLatencyMode]) => {
  const hls = new Hls({lowLatencyMode, enableWorker: false});
  hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.failed = data.details; });
  window.parts = 0;
  hls.on(Hls.Events.FRAG_BUFFERED, (_, data) => { if (data.part) window.parts += 1; });
  hls.loadSource(url);
  hls.attachMedia(document.querySelector("video"));
  window.latency = () => (hls.playingDate ? (Date.now() - hls.playingDate) / 1000 : hls.latency);
}"""


async def film(port: int, source: Clip) -> None:
    """Sends the clip in real time, again and again."""
    stream = RtpStream(PsWriter(source.spec.video, source.spec.audio), SSRC, StreamFaults())
    loop = asyncio.get_running_loop()
    begun, length = loop.time(), source.spec.seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for turn in range(20):
            for unit in source.units:
                later = turn * length * CLOCK_HZ
                moved = replace(unit, pts=unit.pts + later, dts=unit.dts + later)
                due = begun + moved.dts / CLOCK_HZ
                await asyncio.sleep(max(0.0, due - loop.time()))
                for packet in stream.packetise(moved):
                    device.sendto(packet, (HOST, port))


@asynccontextmanager
async def watching(
    tmp_path: Path, audio: AudioCodec | None, script: str | None = None
) -> AsyncIterator[tuple[Page, str]]:
    """A blank page in a browser, and where a camera's stream plays."""
    source = await asyncio.to_thread(clip, replace(SPEC, audio=audio))
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=25000, rtp_port_max=25999, threads=1) as relay:
        port = relay.listen_http(HOST, 0, str(tmp_path / "none.sock"))
        receiver = relay.open_receiver("test", "seen", transport="udp", ssrc=SSRC, peer=HOST, private=False)
        camera = asyncio.create_task(film(receiver.port, source))
        try:
            async with browsing(script) as page:
                yield page, f"http://{HOST}:{port}/test/seen"
        finally:
            camera.cancel()


@asynccontextmanager
async def browsing(script: str | None) -> AsyncIterator[Page]:
    """A blank page in a browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = await browser.new_page()
            page.set_default_timeout(WAIT_MS)
            await page.set_content(PAGE)
            if script is not None:
                await page.add_script_tag(content=await asyncio.to_thread(SCRIPTS[script].read_text))
            yield page
        finally:
            await browser.close()


async def check_playing(page: Page, seconds: float = 3.0) -> None:
    """Time goes on as fast as it should, and what is shown is the test picture: many colours, not one."""
    await page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    before = await page.evaluate("() => document.querySelector('video').currentTime")
    goal = before + seconds
    await page.wait_for_function("t => document.querySelector('video').currentTime > t", arg=goal, timeout=15_000)
    seen: dict[str, Any] = await page.evaluate(PIXELS)
    assert (seen["width"], seen["height"]) == (SPEC.width, SPEC.height)
    assert seen["colours"] > 20


@pytest.mark.parametrize(
    ("audio", "query", "codecs"),
    [
        (None, "", "avc1.64001f"),
        (AudioCodec.AAC, "", "avc1.64001f,mp4a.40.2"),
        (AudioCodec.G711A, "?audio=0", "avc1.64001f"),
    ],
)
async def test_media_sources_take_fmp4_from_a_websocket(
    tmp_path: Path, audio: AudioCodec | None, query: str, codecs: str
) -> None:
    async with watching(tmp_path, audio) as (page, base):
        url = f"{base.replace('http', 'ws', 1)}.live.mp4{query}"
        await page.evaluate(MSE, [url, f'video/mp4; codecs="{codecs}"'])
        await check_playing(page)
        assert await page.evaluate("() => window.breaks()") == 1, "one range without a gap"


@pytest.mark.parametrize(("ending", "kind"), [(".live.flv", "flv"), (".live.ts", "mpegts")])
async def test_mpegts_js_plays_flv_and_ts(tmp_path: Path, ending: str, kind: str) -> None:
    async with watching(tmp_path, AudioCodec.AAC, "mpegts.js") as (page, base):
        await page.evaluate(MPEGTS, [base + ending, kind])
        await check_playing(page)


@pytest.mark.parametrize("playlist", ["hls.m3u8", "hls.fmp4.m3u8", "hls.ll.m3u8"])
async def test_hls_js_plays_every_kind_of_playlist(tmp_path: Path, playlist: str) -> None:
    low_latency = playlist == "hls.ll.m3u8"
    async with watching(tmp_path, AudioCodec.AAC, "hls.js") as (page, base):
        await page.evaluate(HLS, [f"{base}/{playlist}", low_latency])
        await check_playing(page, 5.0)
        assert await page.evaluate("() => window.failed ?? null") is None
        latency = await page.evaluate("() => window.latency()")
        parts = await page.evaluate("() => window.parts")
        print(f"{playlist}: {latency:.2f} s late, {parts} parts")
        if low_latency:
            assert parts > 10
            assert latency < 2.0


async def test_hls_js_plays_what_is_kept_as_hls(tmp_path: Path) -> None:
    """Of a server of files; the relay is gone."""
    source = await asyncio.to_thread(clip, replace(SPEC, seconds=8, audio=AudioCodec.AAC))
    async with Relay(play_key=b"key", rtp_host=HOST, rtp_port_min=25000, rtp_port_max=25999, threads=1) as relay:
        stored = asyncio.Event()
        relay.listen(lambda event: stored.set() if event.kind == "slice" else None)
        receiver = relay.open_receiver("test", "kept", transport="udp", ssrc=SENT_SSRC, peer=HOST, private=False)
        kept = relay.record(
            receiver.id, directory=str(tmp_path), slice_ms=3_600_000, utc_offset_ms=0, tag="", form="fmp4"
        )
        await send(receiver.port, bursts(source))
        relay.stop_recording(kept)
        async with asyncio.timeout(10):
            await stored.wait()
    [file] = tmp_path.glob("*.mp4")
    facts = file_facts(str(file))
    text = beside(
        file.name,
        utc_now(),
        head_bytes=facts.head,
        duration_ms=facts.duration_ms,
        size_bytes=facts.size,
        entries=facts.entries,
    )
    file.with_suffix(".m3u8").write_text(text)
    with serving_files(tmp_path) as url:
        async with browsing("hls.js") as page:
            await page.evaluate(HLS, [f"{url}/{file.stem}.m3u8", False])
            await check_playing(page)
            length = await page.evaluate("() => document.querySelector('video').duration")
            assert abs(length - 8) < 0.3
            await page.evaluate("() => { document.querySelector('video').currentTime = 6 }")
            await page.wait_for_function("() => document.querySelector('video').currentTime > 6.5")
            assert await page.evaluate("() => window.failed") is None
