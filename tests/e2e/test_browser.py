"""The page in a real browser: log in, invite, watch."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from gateway.simulator.model import AudioCodec, VideoCodec
from tests.e2e.cameras import SMALL, ipcs
from tests.e2e.playing import hls
from tests.e2e.running import ADMIN, PASSWORD, RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
WAIT_MS = 30_000

PIXELS = """() => {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const levels = new Set();
  for (let at = 0; at < data.length; at += 4 * 97) levels.add([...data.slice(at, at + 3)].map((c) => c >> 4).join());
  return {width: canvas.width, height: canvas.height, colours: levels.size};
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def page(gateway: RunningGateway) -> AsyncIterator[Page]:
    """The page, logged in."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = await browser.new_page(locale="en-GB")
            page.set_default_timeout(WAIT_MS)
            await page.goto(f"{gateway.url}/")
            await page.fill("input[name=name]", ADMIN)
            await page.fill("input[name=password]", PASSWORD)
            await page.click("button[type=submit]")
            await page.wait_for_selector("header.top")
            yield page
        finally:
            await browser.close()


async def check_picture(page: Page) -> None:
    """Time goes on, and what is shown is the test picture: many colours, not one."""
    await page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    before = await page.evaluate("() => document.querySelector('video').currentTime")
    await page.wait_for_function("t => document.querySelector('video').currentTime > t + 0.5", arg=before)
    seen: dict[str, Any] = await page.evaluate(PIXELS)
    assert (seen["width"], seen["height"]) == (SMALL.width, SMALL.height)
    assert seen["colours"] > 20


async def test_an_operator_invites_and_watches(gateway: RunningGateway, page: Page) -> None:
    spec = replace(SMALL, audio=AudioCodec.AAC)
    async with ipcs(gateway, clip=spec) as (running, [device_id]):
        row = page.locator(f'article[data-channel="{device_id}"]')
        await row.get_by_role("button", name="Invite").click()
        await row.get_by_role("button", name="Play").click()
        await check_picture(page)
        channel = await gateway.wait_for(device_id, "INVITE_SUCCESS")
        assert channel.stream is not None
        assert channel.stream["viewers"]["http-flv"] == 1

        assert channel.play is not None
        # Chromium gives up on a live playlist of fewer than three segments; hls.js and other players wait for more.
        await hls(channel.play["hls_fmp4"], 4)
        await page.goto(f"{gateway.url}/healthz")  # of the same origin, so that the canvas may be read
        html = f'<video autoplay muted playsinline src="{channel.play["hls_fmp4"]}"></video>'
        await page.evaluate("html => { document.body.innerHTML = html }", html)
        await check_picture(page)

        await page.goto(f"{gateway.url}/")
        await row.get_by_role("button", name="Cancel").click()
        await row.get_by_role("button", name="Invite").wait_for()
        assert running.figures.streaming == 0


async def test_the_page_says_what_the_browser_cannot_play(gateway: RunningGateway, page: Page) -> None:
    spec = replace(SMALL, video=VideoCodec.H265, audio=AudioCodec.AAC)
    supported = await page.evaluate("""() => MediaSource.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"')""")
    async with ipcs(gateway, clip=spec) as (_, [device_id]):
        channel = await gateway.wait_for(device_id, "ONLINE")
        assert (await gateway.set_state(channel, "ACTIVE")).status_code == 200
        row = page.locator(f'article[data-channel="{device_id}"]')
        await row.get_by_role("button", name="Play").click()
        if supported:
            await check_picture(page)
        else:
            note = page.locator(".player .note")
            await note.wait_for()
            assert "H265" in await note.inner_text()
            assert await page.locator(".player .address").count() == 12, "where other players find it"
