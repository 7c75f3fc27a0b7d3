"""The page with a stream of one's own: made, watched by every form, its viewers, its recordings played back."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.e2e.browsing import browsing
from tests.e2e.encoders import pushing
from tests.e2e.running import RunningGateway
from tests.e2e.test_browser import check_picture
from tests.e2e.test_retention import NOON, reached, slices

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

VIEWERS = {"FLV": "http-flv", "WebRTC": "whep", "fMP4": "ws-fmp4", "HLS": "hls"}


@pytest.mark.timeout(180)
async def test_a_stream_of_ones_own(tmp_path: Path) -> None:
    gateway = await RunningGateway(tmp_path, {"GATEWAY_WEBRTC__ADDRESSES": json.dumps(["127.0.0.1"])}).start()
    try:
        async with browsing(gateway, "#streams", tmp_path) as page:
            await page.fill("input[name=name]", "kept")
            await page.get_by_role("button", name="Add").click()
            row = page.locator("article[data-stream=kept]")
            await row.get_by_role("button", name="Where to push").click()
            shown = page.locator(".player .address", has_text="WHIP").locator("code")
            assert (await shown.inner_text()).startswith(f"{gateway.url}/whip/")
            body = {"retention_forever": True, "store_type": "local", "timezone": NOON, "state": "ACTIVE"}
            await gateway.call("PUT", "streams/kept/retention", body)
            address = (await gateway.call("GET", "streams/kept/endpoint"))["push_flow_address"]
            async with pushing(address):
                await row.get_by_role("button", name="Play").click()
                await watch_by_every_form(page, tmp_path)
            await play_back(gateway, page, tmp_path)
    finally:
        await gateway.close()


async def watch_by_every_form(page: Page, pictures: Path) -> None:
    tab = page.get_by_role("tab", name="Viewers")
    for label, protocol in VIEWERS.items():
        await page.locator(".choice").get_by_role("button", name=label, exact=True).click()
        await check_picture(page)
        await tab.click()
        await page.locator("td", has_text=protocol).first.wait_for()
        await page.screenshot(path=pictures / f"{protocol}.png", full_page=True)
    await page.locator(".choice").get_by_role("button", name="fMP4").click()
    await check_picture(page)
    await page.locator("tr", has_text="ws-fmp4").get_by_role("button", name="Send away").click()
    await page.locator(".picture .note", has_text="The player stopped").wait_for()


async def play_back(gateway: RunningGateway, page: Page, pictures: Path) -> None:
    await reached(
        lambda: slices(gateway, "kept"),
        lambda found: bool(found) and {one["state"] for one in found} == {"UPLOADED"},
        30,
        gateway,
    )
    await page.get_by_role("tab", name="Recordings").click()
    await page.locator(".timeline .recorded").first.wait_for()
    await page.locator("tr", has_text="H264").first.get_by_role("button", name="Play").click()
    video = page.locator(".replay video")
    await video.wait_for()
    await page.wait_for_function("() => document.querySelector('.replay video').currentTime > 0.5")
    await page.locator(".timeline .needle").wait_for()
    await page.screenshot(path=pictures / "recordings.png", full_page=True)
    await page.locator(".replay").get_by_role("button", name="Pause").click()
    await page.locator(".replay").get_by_role("button", name="Go on").wait_for()
    await page.locator(".replay").get_by_role("button", name="End").click()
    await video.wait_for(state="detached")
