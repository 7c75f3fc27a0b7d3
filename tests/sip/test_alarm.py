"""`sip.alarm` on both loops: uvloop gives no timer, but a plain handle, for what is due already."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from sip.alarm import Alarm


async def fires_for_the_earliest() -> None:
    loop, fired = asyncio.get_running_loop(), asyncio.Event()
    alarm = Alarm(fired.set)
    alarm.arm(loop.time() + 3600.0)
    alarm.arm(None)
    alarm.arm(loop.time())
    alarm.arm(loop.time() + 10.0)
    async with asyncio.timeout(5.0):
        await fired.wait()


async def may_be_armed_again_for_what_is_overdue() -> None:
    loop, times = asyncio.get_running_loop(), 0
    done = asyncio.Event()

    def fire() -> None:
        nonlocal times
        times += 1
        if times < 3:
            alarm.arm(loop.time() - 1.0)
            alarm.arm(loop.time() - 2.0)
        else:
            done.set()

    alarm = Alarm(fire)
    alarm.arm(0.0)
    async with asyncio.timeout(5.0):
        await done.wait()


async def stopped_it_is_silent() -> None:
    fired = asyncio.Event()
    alarm = Alarm(fired.set)
    alarm.arm(0.0)
    alarm.stop()
    later = asyncio.Event()
    Alarm(later.set).arm(0.0)
    async with asyncio.timeout(5.0):
        await later.wait()
    assert not fired.is_set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    "scenario", [fires_for_the_earliest, may_be_armed_again_for_what_is_overdue, stopped_it_is_silent]
)
def test_on_both_loops(run: Callable[[Awaitable[None]], None], scenario: Callable[[], Awaitable[None]]) -> None:
    run(scenario())
