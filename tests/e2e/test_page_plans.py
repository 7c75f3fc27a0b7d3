"""Record plans on the page: painted, typed, given to a stream, which is then recorded; taken away again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route

from tests.e2e.browsing import browsing
from tests.e2e.encoders import pushing
from tests.e2e.running import RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

WEEK = {"days": ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"], "start": "00:00", "end": "24:00"}


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    running = RunningGateway(tmp_path)
    try:
        yield await running.start()
    finally:
        await running.close()


async def plans(gateway: RunningGateway) -> Any:
    """What the API says of the project's record plans."""
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/record-plans")
    assert answer.is_success, answer.text
    return answer.json()["plans"]


async def paint(page: Page, first: str, last: str) -> None:
    """Draws the mouse from one hour to another: `Mon 08:00`."""
    await page.get_by_role("gridcell", name=first).hover()
    await page.mouse.down()
    await page.get_by_role("gridcell", name=last).hover()
    await page.mouse.up()


async def test_a_plan_is_made_by_mouse_keyboard_and_typing(gateway: RunningGateway, tmp_path: Path) -> None:
    async with browsing(gateway, "#plans", tmp_path) as page:
        await page.get_by_role("button", name="New plan").click()
        editor = page.locator(".editor")
        zone = editor.get_by_label("Time zone")
        await editor.get_by_label("Name of the plan").fill("office")
        saturday = editor.get_by_label("Times of Sat", exact=True)
        await zone.fill("Atlantis")
        await paint(page, "Mon 08:00", "Fri 11:00")
        await paint(page, "Wed 09:00", "Wed 09:00")
        await saturday.fill("22:15-25")
        save = editor.get_by_role("button", name="Save")
        await save.click()
        await editor.get_by_text("over midnight there are two").wait_for()
        assert await plans(gateway) == []

        await saturday.fill("22:15-24, 8-9:30")
        await page.get_by_role("gridcell", name="Sun 00:00").click()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Space")
        await page.keyboard.press("Shift+ArrowRight")
        await save.click()
        await editor.locator("[data-setting=timezone]").get_by_text("a name of the IANA database").wait_for()
        assert await plans(gateway) == []

        await zone.fill("Europe/Berlin")
        await save.click()
        await editor.get_by_text("Made. Give it to streams below.").wait_for()
        (plan,) = await plans(gateway)
        assert (plan["name"], plan["timezone"]) == ("office", "Europe/Berlin")
        week = {(day, one["start"], one["end"]) for one in plan["week"] for day in one["days"]}
        assert week == {
            *((day, "08:00", "12:00") for day in ("MON", "TUE", "THU", "FRI")),
            ("WED", "08:00", "09:00"),
            ("WED", "10:00", "12:00"),
            ("SAT", "08:00", "09:30"),
            ("SAT", "22:15", "24:00"),
            ("SUN", "00:00", "03:00"),
        }


async def test_a_plan_records_a_stream_until_it_is_taken_away(gateway: RunningGateway, tmp_path: Path) -> None:
    await gateway.call("POST", "streams", {"name": "gate", "access_type": "RTMP", "encode_type": "H264"})
    await gateway.call("PUT", "streams/gate", {"state": "ACTIVE"})
    address = (await gateway.call("GET", "streams/gate/endpoint"))["push_flow_address"]
    async with browsing(gateway, "#plans", tmp_path) as page, pushing(address):
        await page.get_by_role("button", name="New plan").click()
        editor = page.locator(".editor")
        await editor.get_by_label("Name of the plan").fill("always")
        await editor.get_by_role("button", name="Whole week").click()
        await editor.get_by_role("button", name="Save").click()
        given = editor.locator(".planned")
        await given.get_by_label("Name of the stream").fill("gate")
        await given.get_by_role("button", name="Add").click()
        await given.get_by_text("nobody said where its recordings go").wait_for()
        await given.get_by_label("Where recordings go").select_option(label="keep recordings on the gateway's disk")
        await given.get_by_role("button", name="Add").click()
        await given.locator("tr", has_text="gate").get_by_text("recording since").wait_for()
        (plan,) = await plans(gateway)
        assert (plan["streams"], plan["wanted"], plan["week"]) == (1, True, [WEEK])

        row = page.locator("article.plan", has_text="always")
        await row.get_by_text("streams: 1").wait_for()
        await row.get_by_role("button", name="Remove").click()
        await page.locator(".error", has_text="streams").wait_for()
        assert len(await plans(gateway)) == 1, "streams have it"
        await given.locator("tr", has_text="gate").get_by_role("button", name="Remove").click()
        await row.get_by_text("streams: 0").wait_for()
        await row.get_by_role("button", name="Remove").click()
        await page.get_by_text("No record plans yet.").wait_for()
        assert await plans(gateway) == []
        await editor.wait_for(state="detached")


async def test_a_plan_is_made_once_however_often_save_is_pressed(gateway: RunningGateway, tmp_path: Path) -> None:
    async with browsing(gateway, "#plans", tmp_path) as page:
        release, asked = asyncio.Event(), 0

        async def hold(route: Route) -> None:
            nonlocal asked
            if route.request.method == "POST":
                asked += 1
                await release.wait()
            await route.continue_()

        await page.route("**/gb/v1/record-plans", hold)
        await page.get_by_role("button", name="New plan").click()
        editor = page.locator(".editor")
        await editor.get_by_label("Name of the plan").fill("once")
        save = editor.get_by_role("button", name="Save")
        await save.dblclick()
        await editor.get_by_label("Name of the plan").press("Enter")
        await page.locator(".editor button[aria-disabled=true]", has_text="Save").wait_for()
        release.set()
        await editor.get_by_text("Made. Give it to streams below.").wait_for()
        assert (asked, [one["name"] for one in await plans(gateway)]) == (1, ["once"])
        await save.dblclick()
        await editor.get_by_text("Saved; it counts at once.").wait_for()
        assert [one["name"] for one in await plans(gateway)] == ["once"], "what is there is changed"


async def test_what_is_missing_is_unknown_while_it_cannot_be_asked(gateway: RunningGateway, tmp_path: Path) -> None:
    await gateway.call("POST", "streams", {"name": "gate", "access_type": "RTMP", "encode_type": "H264"})
    kept = {"retention_in_hour": 1, "store_type": "local", "timezone": "GMT+08:00"}
    await gateway.call("PUT", "streams/gate/retention", kept)
    week = {"name": "always", "week": [WEEK]}
    made = await gateway.client.post(f"{gateway.url}/gb/v1/record-plans", json=week)
    given = f"{gateway.url}/gb/v1/record-plans/{made.json()['plan_id']}/streams"
    assert (await gateway.client.put(given, json={"add": ["gate"]})).is_success
    async with browsing(gateway, "#plans", tmp_path) as page:
        await page.route("**/recordings/gaps?*", lambda route: route.fulfill(status=503, body=""))
        await page.get_by_role("button", name="Edit").click()
        row = page.locator(".planned tr", has_text="gate")
        unknown = row.get_by_text("?", exact=True)
        await unknown.wait_for()
        assert "503" in (await unknown.get_attribute("title") or ""), "why it is not known"
        await row.get_by_text("not recording: it does not flow").wait_for()
        await page.unroute("**/recordings/gaps?*")
        await page.get_by_role("button", name="Close").click()
        await page.get_by_role("button", name="Edit").click()
        await row.wait_for()
        await unknown.wait_for(state="detached")


async def test_the_chinese_page_says_in_chinese_why_it_was_refused(gateway: RunningGateway, tmp_path: Path) -> None:
    async with browsing(gateway, "#plans", tmp_path, locale="zh-CN") as page:
        await page.get_by_role("button", name="新建计划").click()
        editor = page.locator(".editor")
        await editor.get_by_label("时区").fill("Atlantis")
        await editor.get_by_label("计划名称").fill("夜间")
        save = editor.get_by_role("button", name="保存")
        await save.click()
        await editor.locator("[data-setting=timezone]").get_by_text("IANA 时区名称").wait_for()
        await editor.get_by_label("时区").fill("Asia/Shanghai")
        await save.click()
        await editor.get_by_text("已创建。").wait_for()
        await page.get_by_role("button", name="新建计划").click()
        await editor.get_by_label("计划名称").fill("夜间")
        await save.click()
        await editor.get_by_text("已有同名的录像计划。").wait_for()
        assert len(await plans(gateway)) == 1
