"""The shell on real sockets: calls from both sides, to their end."""

import asyncio

import pytest

from sip.call import CallState, Party
from sip.failures import (
    CallEndedError,
    CallRefusedError,
    RequestTimeoutError,
)
from sip.incoming import Incoming
from sip.outgoing import IncomingCall
from tests.sip.endpoints import SDP, Pair, eventually, flow_between, listening, request


async def test_a_call_is_made_answered_and_ended(pair: Pair) -> None:
    platform, device = pair
    calls: list[IncomingCall] = []

    def on_invite(call: IncomingCall) -> None:
        calls.append(call)
        call.ringing()
        call.accept(SDP)

    device.on_invite(on_invite)
    call = await platform.invite(request("INVITE", SDP, Subject="1:0,2:0"), flow=await flow_between(platform, device))
    provisional = [response.status async for response in call.progress()]
    answer = await call.answer(timeout=5)
    assert answer.body == SDP
    assert provisional[-1] == 180
    await calls[0].acknowledged()
    assert calls[0].state is call.state is CallState.ESTABLISHED
    ended = await call.bye()
    assert (ended.by, call.state) == (Party.LOCAL, CallState.ENDED)
    assert (await calls[0].wait_ended()).by is Party.REMOTE
    assert platform.counters["dialogs.calls"] == device.counters["dialogs.calls"] == 0


async def test_the_device_hangs_up_and_talks_inside_the_call(pair: Pair) -> None:
    platform, device = pair
    inside: list[Incoming] = []

    async def on_invite(call: IncomingCall) -> None:
        call.accept(SDP)
        await call.acknowledged()
        assert (await call.send("MESSAGE", b"<MediaStatus/>")).status == 200
        await call.bye()

    def on_message(incoming: Incoming) -> None:
        inside.append(incoming)
        incoming.respond(200)

    platform.on("MESSAGE", on_message)
    device.on_invite(on_invite)
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    ends: list[Party] = []
    call.on_ended(lambda ended: ends.append(ended.by))
    await call.answer(5)
    assert (await call.wait_ended()).by is Party.REMOTE
    assert inside[0].call is call
    assert ends == [Party.REMOTE]
    with pytest.raises(CallEndedError):
        await call.info(b"PAUSE")


async def test_info_reaches_the_device_inside_the_call(pair: Pair) -> None:
    platform, device = pair
    device.on_invite(lambda call: call.accept(SDP))
    device.on("INFO", lambda incoming: incoming.respond(200 if incoming.call else 481))
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    await call.answer(5)
    assert (await call.info(b"PAUSE RTSP/1.0\r\n")).status == 200
    await call.bye()


async def test_a_refusal_carries_its_status(pair: Pair) -> None:
    platform, device = pair
    device.on_invite(lambda call: call.reject(486))
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    with pytest.raises(CallRefusedError) as caught:
        await call.answer(5)
    assert caught.value.status == 486
    assert call.ended is not None
    assert (call.ended.by, call.ended.status) == (Party.REMOTE, 486)


async def test_a_call_without_a_handler_is_refused(pair: Pair) -> None:
    platform, device = pair
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    with pytest.raises(CallRefusedError, match="405"):
        await call.answer(5)


async def test_cancelling_a_ringing_call(pair: Pair) -> None:
    platform, device = pair
    calls: list[IncomingCall] = []
    device.on_invite(calls.append)
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    await eventually(lambda: call.state is CallState.RINGING)
    ended = await call.cancel("viewer left")
    assert (ended.by, ended.reason, ended.status) == (Party.LOCAL, "viewer left", 487)
    assert (await calls[0].wait_ended()).by is Party.REMOTE
    with pytest.raises(CallEndedError):
        calls[0].accept(SDP)


async def test_a_late_answer_is_acknowledged_and_ended(pair: Pair) -> None:
    platform, device = pair
    ends: list[Party] = []

    async def slow(call: IncomingCall) -> None:
        call.on_ended(lambda ended: ends.append(ended.by))
        await asyncio.sleep(0.2)

    device.on_invite(slow)
    call = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    with pytest.raises(RequestTimeoutError):
        await call.answer(timeout=0.05)
    await eventually(lambda: bool(ends))
    await eventually(lambda: platform.counters["transactions.clients"] == 0 or call.ended is not None)


async def test_a_call_is_ended_after_a_crash(pair: Pair) -> None:
    platform, device = pair
    calls: list[IncomingCall] = []

    def on_invite(call: IncomingCall) -> None:
        calls.append(call)
        call.accept(SDP)

    device.on_invite(on_invite)
    first = await platform.invite(request("INVITE", SDP), flow=await flow_between(platform, device))
    await first.answer(5)
    snapshot = first.snapshot()
    async with listening(platform.addresses[0][0]) as restarted:
        flow = await flow_between(restarted, device)
        again = restarted.restore_call(snapshot, flow)
        assert (await again.bye("restarted")).by is Party.LOCAL
    assert (await calls[0].wait_ended()).by is Party.REMOTE
