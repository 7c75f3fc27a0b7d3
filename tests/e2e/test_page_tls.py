"""The page by HTTPS, with a certificate that was made by hand: all that it fetches comes by TLS too."""

import json
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.e2e.encoders import pushing
from tests.e2e.running import ADMIN, PASSWORD, RunningGateway
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM, WAIT_MS, check_picture
from tests.media.pem import write_pair
from tests.ports import free_ports

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]


@pytest.mark.timeout(120)
async def test_the_page_plays_by_https(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    (https,) = free_ports(1)
    settings = {
        "GATEWAY_TLS__CERTIFICATE": str(certificate),
        "GATEWAY_TLS__KEY": str(key),
        "GATEWAY_TLS__HTTPS_PORT": str(https),
        "GATEWAY_WEBRTC__ADDRESSES": json.dumps(["127.0.0.1"]),
    }
    gateway = await RunningGateway(tmp_path, settings).start()
    try:
        await gateway.call("POST", "streams", {"name": "camera", "access_type": "RTMP", "encode_type": "H264"})
        await gateway.call("PUT", "streams/camera", {"state": "ACTIVE"})
        address = (await gateway.call("GET", "streams/camera/endpoint"))["push_flow_address"]
        async with pushing(address), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            try:
                page = await browser.new_page(locale="en-GB", ignore_https_errors=True)
                page.set_default_timeout(WAIT_MS)
                asked: list[str] = []
                page.on("request", lambda request: asked.append(request.url))
                page.on("websocket", lambda socket: asked.append(socket.url))
                await page.goto(f"https://127.0.0.1:{https}/#streams")
                await page.fill("input[name=name]", ADMIN)
                await page.fill("input[name=password]", PASSWORD)
                await page.click("button[type=submit]")
                await page.locator("article[data-stream=camera]").get_by_role("button", name="Play").click()
                for label in ("FLV", "WebRTC", "fMP4"):
                    await page.locator(".choice").get_by_role("button", name=label, exact=True).click()
                    await check_picture(page)
                assert any("/whep/" in one for one in asked) and any(".live.mp4" in one for one in asked)
                own = (f"https://127.0.0.1:{https}/", f"wss://127.0.0.1:{https}/", "data:", "blob:")
                assert [one for one in asked if not one.startswith(own)] == []
            finally:
                await browser.close()
    finally:
        await gateway.close()
