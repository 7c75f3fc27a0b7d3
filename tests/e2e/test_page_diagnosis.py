"""The page's "Why?" in a real browser, in both languages."""

import shutil
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from gateway.simulator.misbehaviour import Misbehaviour
from tests.e2e.running import ADMIN, PASSWORD, RunningGateway
from tests.e2e.test_diagnosis import camera, gateway, wait_for_main

__all__ = ["gateway"]

PAGE = Path(__file__).parents[2] / "api/console/dist/index.html"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.mark.browser
@pytest.mark.skipif(not PAGE.exists(), reason="the page is not built: make build")
async def test_why(gateway: RunningGateway) -> None:
    chromium = shutil.which("chromium")
    assert chromium is not None, "Debian's chromium is needed"
    (device_id,) = await gateway.provision()
    async with camera(gateway, device_id, Misbehaviour(refuse=486)), async_playwright() as playwright:
        await gateway.set_state(await gateway.wait_for(device_id, "ONLINE"), "ACTIVE")
        await wait_for_main(gateway, device_id, "refused")
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for locale, button, words in (
            ("en-GB", "Why?", ["refused the INVITE with 486", "It is busy"]),
            ("zh-CN", "为什么？", ["以 486", "设备忙"]),
        ):
            context = await browser.new_context(locale=locale)
            page = await context.new_page()
            await page.goto(gateway.url)
            await page.fill("input[name=name]", ADMIN)
            await page.fill("input[name=password]", PASSWORD)
            await page.click("button[type=submit]")
            await page.locator("article.channel").get_by_role("button", name=button).click()
            shown = page.locator("[data-code=refused].error.main")
            await shown.wait_for()
            text = await shown.inner_text()
            assert all(word in text for word in words), text
            assert await page.locator(".finding.ok").count() >= 2
            await context.close()
        await browser.close()
