"""A real browser plays by WHEP and publishes by WHIP; what it publishes is played by others."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from gateway.simulator.model import AudioCodec, VideoCodec
from tests.e2e.cameras import SMALL, ipcs
from tests.e2e.running import RunningGateway
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM, WAIT_MS, check_picture

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.browser]

PLAY = """async (address) => {
  document.body.innerHTML = '<video autoplay muted playsinline></video>';
  const video = document.querySelector("video");
  const pc = window.pc = new RTCPeerConnection();
  video.srcObject = new MediaStream();
  pc.ontrack = (event) => video.srcObject.addTrack(event.track);
  pc.addTransceiver("video", {direction: "recvonly"});
  pc.addTransceiver("audio", {direction: "recvonly"});
  await pc.setLocalDescription(await pc.createOffer());
  const answer = await fetch(address, {method: "POST", headers: {"Content-Type": "application/sdp"},
    body: pc.localDescription.sdp});
  if (answer.status !== 201) return {status: answer.status, text: await answer.text()};
  await pc.setRemoteDescription({type: "answer", sdp: await answer.text()});
  return {status: 201, location: answer.headers.get("Location")};
}"""

PUBLISH = """async ([address, token]) => {
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 360}, audio: true});
  const pc = window.pc = new RTCPeerConnection();
  for (const track of stream.getTracks()) pc.addTransceiver(track, {direction: "sendonly", streams: [stream]});
  await pc.setLocalDescription(await pc.createOffer());
  const headers = {"Content-Type": "application/sdp"};
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(address, {method: "POST", headers, body: pc.localDescription.sdp});
  if (answer.status !== 201) return {status: answer.status, text: await answer.text()};
  await pc.setRemoteDescription({type: "answer", sdp: await answer.text()});
  return {status: 201, location: answer.headers.get("Location")};
}"""

LOUDNESS = """async () => {
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(document.querySelector("video").srcObject).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  for (let tries = 0; tries < 50 && loudest < 0.01; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples);
  }
  return loudest;
}"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    settings = {"GATEWAY_WEBRTC__ADDRESSES": json.dumps(["127.0.0.1"])}
    running = RunningGateway(tmp_path_factory.mktemp("gateway"), settings)
    try:
        yield await running.start()
    finally:
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    devices = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *devices])
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(gateway: RunningGateway, browser: Browser) -> Page:
    """An empty page of the gateway's origin, so that canvases may be read."""
    page = await browser.new_page()
    page.set_default_timeout(WAIT_MS)
    await page.goto(f"{gateway.url}/healthz")
    return page


@pytest.mark.parametrize("audio", [AudioCodec.G711A, AudioCodec.AAC])
async def test_chromium_plays_a_camera_by_whep(
    gateway: RunningGateway, page: Page, audio: AudioCodec, tmp_path: Path
) -> None:
    async with ipcs(gateway, clip=replace(SMALL, audio=audio)) as (_, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        assert channel.play is not None
        address = channel.play["whep"]
        answered = await page.evaluate(PLAY, address)
        assert answered["status"] == 201, answered
        await check_picture(page)
        await page.screenshot(path=tmp_path / "whep.png")
        assert await page.evaluate(LOUDNESS) > 0.01, "sound is heard"
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        assert channel.stream is not None
        assert channel.stream["viewers"]["whep"] == 1
        ended = await gateway.client.delete(gateway.url + answered["location"])
        assert ended.status_code == 200
        await page.wait_for_function("() => pc.connectionState !== 'connected'")
        again = await gateway.client.delete(gateway.url + answered["location"])
        assert again.status_code == 404 and again.headers["content-type"] == "application/problem+json"


async def test_a_camera_with_g711_plays_as_aac(gateway: RunningGateway) -> None:
    async with ipcs(gateway, clip=replace(SMALL, audio=AudioCodec.G711A)) as (_, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        await gateway.wait_for(device_id, "INVITE_SUCCESS")
        address = f"{gateway.url}/gb/v1/streams/{channel.stream_name}/aac"
        async with asyncio.timeout(20):  # until its tracks are known
            while (made := await gateway.client.post(address)).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        play = made.json()
        assert (await gateway.client.post(address)).json()["hls"].split("?")[0] == play["hls"].split("?")[0]
        for form in ("http_flv", "hls"):
            kinds = {one["codec_type"]: one["codec_name"] for one in await probe(play[form])}
            assert kinds == {"video": "h264", "audio": "aac"}
        assert await mean_volume(play["http_flv"]) > -60


async def test_who_may_not_and_what_cannot_be_is_said(gateway: RunningGateway, page: Page) -> None:
    async with ipcs(gateway, clip=replace(SMALL, video=VideoCodec.H265)) as (_, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        assert channel.play is not None
        address = channel.play["whep"]
        refused = await page.evaluate(PLAY, address)
        assert refused["status"] == 406 and "H.265" in refused["text"], refused
        for wrong, status in ((address.partition("?")[0], 403), (address[:-3] + "xyz", 403)):
            assert (await page.evaluate(PLAY, wrong))["status"] == status
        post = gateway.client.post
        assert (await post(address, content=b"v=0", headers={"Content-Type": "text/plain"})).status_code == 400
        assert (await post(address, content=b"v=0", headers={"Content-Type": "application/sdp"})).status_code == 400
        preflight = await gateway.client.request("OPTIONS", address)
        assert preflight.status_code == 204 and preflight.headers["accept-post"] == "application/sdp"


async def test_chromium_publishes_and_others_play(gateway: RunningGateway, page: Page, browser: Browser) -> None:
    stream = {"name": "browser", "access_type": "RTMP", "encode_type": "H264", "share_type": "PUBLIC"}
    await gateway.call("POST", "streams", stream)
    await gateway.call("PUT", "streams/browser", {"state": "ACTIVE"})
    told = await gateway.client.post(f"{gateway.url}/gb/v1/streams/browser/push-address")
    address = told.json()["whip"]
    answered = await page.evaluate(PUBLISH, [address, ""])
    assert answered["status"] == 201, answered
    app = await app_of(gateway)
    probed = await probe(f"{gateway.url}/{app}/browser.live.flv")
    kinds = {one["codec_type"]: one["codec_name"] for one in probed}
    assert kinds == {"video": "h264", "audio": "aac"}
    loudness = await mean_volume(f"{gateway.url}/{app}/browser.live.flv")
    assert loudness > -60, "the browser's beeps are heard"
    second = await browser.new_page()
    await second.goto(f"{gateway.url}/healthz")
    played = await second.evaluate(PLAY, f"{gateway.url}/whep/{app}/browser")
    assert played["status"] == 201, played
    await second.wait_for_function("() => document.querySelector('video')?.currentTime > 1")
    twice = await second.evaluate(PUBLISH, [address, ""])
    assert twice["status"] == 409, twice
    assert (await gateway.client.delete(gateway.url + answered["location"])).status_code == 200
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while (await client.head(f"{gateway.url}/{app}/browser.live.flv")).status_code != 404:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def app_of(gateway: RunningGateway) -> str:
    shown = await gateway.client.get(f"{gateway.url}/gb/v1/streams/browser")
    return str(shown.json()["play"]["http_flv"]).removeprefix(gateway.url).split("/")[1]


async def probe(address: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while True:
            command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-rw_timeout", "8000000", address]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=25, check=False)
            if done.returncode == 0 and len(found := json.loads(done.stdout)["streams"]) == 2:
                return list(found)
            await asyncio.sleep(0.2)


async def mean_volume(address: str) -> float:
    command = ["ffmpeg", "-v", "info", "-t", "4", "-i", address, "-vn", "-af", "volumedetect", "-f", "null", "-"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=40, check=False)
    line = next(line for line in done.stderr.splitlines() if "mean_volume" in line)
    return float(line.split("mean_volume:")[1].split()[0])
