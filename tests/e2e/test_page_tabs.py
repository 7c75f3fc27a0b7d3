"""What hangs on a stream, on the page: its options, where it is pushed and sent on to, its inputs."""

import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page

from tests.e2e.browsing import browsing
from tests.e2e.encoders import pushing
from tests.e2e.running import RunningGateway
from tests.e2e.test_streams import flowing

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

FOREVER_MS = 60_000
"""A test has this long for one condition: a machine that is busy is no finding."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    settings = {"GATEWAY_PULL__ALLOW_PRIVATE": "true", "GATEWAY_SEND__ALLOW_PRIVATE": "true"}
    running = RunningGateway(tmp_path_factory.mktemp("tabs"), settings)
    try:
        yield await running.start()
    finally:
        await running.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def source(gateway: RunningGateway) -> AsyncIterator[str]:
    """The name of a stream that flows, and that everybody may watch."""
    name, address = await add(gateway)
    async with pushing(address):
        await flowing(gateway, name)
        yield name


async def add(gateway: RunningGateway, **more: str) -> tuple[str, str]:
    """The name of a new active stream, and where to push it."""
    name = f"stream-{secrets.token_hex(4)}"
    body = {"name": name, "access_type": "RTMP", "encode_type": "H264", "share_type": "PUBLIC", **more}
    await gateway.call("POST", "streams", body)
    await gateway.call("PUT", f"streams/{name}", {"state": "ACTIVE"})
    endpoint = await gateway.call("GET", f"streams/{name}/endpoint")
    return name, endpoint.get("push_flow_address") or ""


async def asked(gateway: RunningGateway, path: str) -> Any:
    """What the API says below `/gb/v1/streams/`."""
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/streams/{path}")
    assert answer.is_success, answer.text
    return answer.json()


async def open_tab(page: Page, stream: str, tab: str) -> Locator:
    """What the tab of the stream shows."""
    await page.locator(f"article[data-stream={stream}] .actions button").first.click()
    await page.locator(f".player[data-stream={stream}]").get_by_role("tab", name=tab, exact=True).click()
    return page.get_by_role("tabpanel")


async def test_tabs_are_chosen_by_keyboard(gateway: RunningGateway, tmp_path: Path) -> None:
    name, _ = await add(gateway)
    async with browsing(gateway, "#streams", tmp_path) as page:
        await open_tab(page, name, "Addresses")
        tab = {one: page.get_by_role("tab", name=one, exact=True) for one in ("Addresses", "Viewers", "Options")}
        await tab["Addresses"].press("ArrowRight")
        assert await tab["Viewers"].evaluate("one => one === document.activeElement && one.ariaSelected === 'true'")
        await page.get_by_role("tabpanel", name="Viewers").get_by_text("Nothing here now.").wait_for()
        await tab["Viewers"].press("End")
        await page.get_by_role("tabpanel", name="Options").get_by_role("button", name="Save").wait_for()
        await tab["Options"].press("ArrowRight")
        assert await tab["Addresses"].evaluate("one => one === document.activeElement"), "round"
        assert await page.get_by_role("tab").evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1


async def test_options_are_chosen_refused_and_given_back(gateway: RunningGateway, tmp_path: Path) -> None:
    name, _ = await add(gateway)
    async with browsing(gateway, "#streams", tmp_path) as page:
        panel = await open_tab(page, name, "Options")
        setting = {one: panel.locator(f"[data-setting={one}]") for one in ("forms", "audio", "gop_bytes_max")}
        cache = panel.get_by_label("GOP cache", exact=True)
        await page.wait_for_function("() => document.querySelector('[name=gop_bytes_max]')?.placeholder === '16'")
        await setting["forms"].get_by_label("default").uncheck()
        await setting["forms"].get_by_label("RTMP").uncheck()
        await panel.get_by_label("Sound").select_option(label="off")
        await cache.fill("300")
        await panel.get_by_label("Merge writes within").fill("300")
        await panel.get_by_label("Recorded as").select_option(label="HLS (fMP4 + m3u8)")
        await panel.get_by_role("button", name="Save").click()
        await setting["gop_bytes_max"].get_by_role("alert").filter(has_text="At most 256 MiB.").wait_for()
        assert await cache.evaluate("one => one === document.activeElement"), "where it must be mended"
        assert set((await asked(gateway, f"{name}/options"))["own"].values()) == {None}

        await cache.fill("8")
        await panel.get_by_role("button", name="Save").click()
        await panel.get_by_text("Saved").wait_for()
        own = (await asked(gateway, f"{name}/options"))["own"]
        assert {name: value for name, value in own.items() if value is not None} == {
            "forms": ["flv", "ts", "fmp4", "hls", "ll-hls", "rtsp", "webrtc"],
            "audio": False,
            "gop_bytes_max": 8 << 20,
            "merge_write": 0.3,
            "recording_form": "hls",
        }
        assert await panel.get_by_role("alert").count() == 0, "what was wrong is right now"

        await panel.get_by_role("button", name="Back to the defaults").click()
        await page.wait_for_function("() => document.querySelector('[name=gop_bytes_max]').value === ''")
        assert await setting["forms"].get_by_label("RTMP").is_checked()
        assert set((await asked(gateway, f"{name}/options"))["own"].values()) == {None}


async def test_options_that_were_not_loaded_are_not_saved(gateway: RunningGateway, tmp_path: Path) -> None:
    name, _ = await add(gateway)
    async with browsing(gateway, "#streams", tmp_path) as page:
        await page.route("**/options", lambda route: route.abort())
        panel = await open_tab(page, name, "Options")
        again = panel.get_by_role("button", name="Try again")
        await again.wait_for()
        assert await panel.get_by_role("button", name="Save").count() == 0
        await page.unroute("**/options")
        await again.click()
        await panel.get_by_role("button", name="Save").click()
        await panel.get_by_text("Saved").wait_for()
        assert set((await asked(gateway, f"{name}/options"))["own"].values()) == {None}


@pytest.mark.parametrize("place", ["#channels", "#streams", "#plans"])
async def test_who_has_no_good_token_logs_in_again(gateway: RunningGateway, place: str, tmp_path: Path) -> None:
    async with browsing(gateway, place, tmp_path) as page:
        await page.evaluate(
            "() => (sessionStorage.session = JSON.stringify({...JSON.parse(sessionStorage.session), token: 'old'}))"
        )
        await page.reload()
        await page.locator(".login").get_by_role("alert").filter(has_text="token").wait_for()
        assert await page.evaluate("() => sessionStorage.length") == 0


async def test_a_stream_is_pushed_on(gateway: RunningGateway, source: str, tmp_path: Path) -> None:
    target, address = await add(gateway)
    async with browsing(gateway, "#streams", tmp_path) as page:
        panel = await open_tab(page, source, "Pushes")
        await panel.locator("input[name=url]").fill(address)
        await panel.get_by_role("button", name="Add").click()
        row = panel.locator("tr", has_text=f"127.0.0.1:{gateway.rtmp_port}")
        await row.get_by_text("pushing", exact=True).wait_for(timeout=FOREVER_MS)
        await page.locator(f"article[data-stream={target}] .status.FLOWING").wait_for()
        assert [one["state"] for one in (await asked(gateway, f"{source}/pushes"))["pushes"]] == ["PUSHING"]
        await row.get_by_role("button", name="Remove").click()
        await panel.get_by_text("Nothing here now.").wait_for()
        assert (await asked(gateway, f"{source}/pushes"))["pushes"] == []


async def test_a_stream_is_sent_as_rtp(gateway: RunningGateway, source: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        async with browsing(gateway, "#streams", tmp_path) as page:
            panel = await open_tab(page, source, "Senders")
            await panel.locator("input[name=host]").fill("127.0.0.1")
            await panel.locator("input[name=port]").fill(str(receiver.getsockname()[1]))
            await panel.locator("input[name=ssrc]").fill("1234567")
            await panel.get_by_role("button", name="Add").click()
            row = panel.locator("tr", has_text="0001234567")
            await row.get_by_text("sending", exact=True).wait_for(timeout=FOREVER_MS)
            assert receiver.recv(2048)[8:12] == (1234567).to_bytes(4), "of the SSRC that was typed"
            remove = row.get_by_role("button", name="Remove")
            await remove.focus()
            drawn = await row.element_handle()
            await page.wait_for_function("row => !row.isConnected", arg=drawn)  # with what was sent since
            await page.keyboard.press("Enter")
            await panel.get_by_text("Nothing here now.").wait_for()
            assert (await asked(gateway, f"{source}/senders"))["senders"] == []


async def test_inputs_are_added_switched_to_and_removed(gateway: RunningGateway, source: str, tmp_path: Path) -> None:
    url = (await asked(gateway, source))["play"]["http_flv"]
    name, _ = await add(gateway, access_type="HTTP-FLV", url=url)
    async with browsing(gateway, "#streams", tmp_path) as page:
        panel = await open_tab(page, name, "Inputs")
        await panel.locator("input[name=url]").fill(url)
        await panel.get_by_label("Backup").select_option(label="kept connected")
        await panel.get_by_role("button", name="Add").click()
        rows = panel.locator("tbody tr")
        await rows.nth(1).get_by_text("ready", exact=True).wait_for(timeout=FOREVER_MS)
        await rows.nth(1).get_by_role("button", name="Switch to it").click()
        await rows.nth(1).get_by_text("feeds the stream").wait_for()
        told = (await asked(gateway, f"{name}/inputs"))["inputs"]
        assert [(one["backup"], one["active"]) for one in told] == [("passive", False), ("active", True)]
        await panel.locator("input[name=url]").fill(f"{url}?spare")
        await panel.get_by_role("button", name="Add").click()
        await rows.nth(2).wait_for()
        await rows.nth(1).get_by_role("button", name="Remove").dblclick()
        await rows.nth(2).wait_for(state="detached")
        left = [one["url"] for one in (await asked(gateway, f"{name}/inputs"))["inputs"]]
        assert left == [url, f"{url}?…"], "the one that moved up was not meant"
