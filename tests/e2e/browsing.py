"""The page in a real browser, logged in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Dialog, Page, async_playwright

from tests.e2e.running import ADMIN, PASSWORD, RunningGateway
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM, WAIT_MS


@asynccontextmanager
async def browsing(
    gateway: RunningGateway, place: str, pictures: Path, *, locale: str = "en-GB"
) -> AsyncIterator[Page]:
    """The page at `place` (`#streams`); questions are answered with yes, and a failure leaves its picture."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(locale=locale, viewport={"width": 1280, "height": 1000})
        try:
            page.set_default_timeout(WAIT_MS)
            page.on("dialog", _agree)
            await page.goto(f"{gateway.url}/{place}")
            await page.fill("input[name=name]", ADMIN)
            await page.fill("input[name=password]", PASSWORD)
            await page.click("button[type=submit]")
            await page.wait_for_selector("header.top")
            yield page
        except Exception:
            await page.screenshot(path=pictures / "failed.png", full_page=True)
            raise
        finally:
            await browser.close()


async def _agree(dialog: Dialog) -> None:
    await dialog.accept()
