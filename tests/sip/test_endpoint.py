"""The shell on real sockets: what an application sees of requests, subscriptions, connections and overload."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import asdict

import pytest

from sip.call import Party
from sip.digest import DigestClient
from sip.endpoint import Endpoint
from sip.failures import (
    CallRefusedError,
    FlowClosedError,
    IllegalTransitionError,
    RequestTimeoutError,
)
from sip.flow import Address, Flow
from sip.incoming import Incoming
from sip.message import Request
from sip.outgoing import Notifications
from sip.transport import Listen
from sip.watchers import Trace
from tests.sip.endpoints import SDP, Pair, eventually, flow_between, listening, request


async def test_a_request_is_answered_by_a_plain_handler(pair: Pair) -> None:
    platform, device = pair
    seen: list[Incoming] = []

    def on_message(incoming: Incoming) -> None:
        seen.append(incoming)
        incoming.respond(200, headers=[("X-GB-Ver", "2.0")])

    platform.on("MESSAGE", on_message)
    response = await device.request(request("MESSAGE", b"<xml/>"), flow=await flow_between(device, platform))
    assert response.status == 200
    assert response.headers.get("X-GB-Ver") == "2.0"
    assert response.to.tag
    assert seen[0].request.body == b"<xml/>"
    via = seen[0].request.via
    assert (via.received, via.rport) == tuple(seen[0].flow.remote)


async def test_a_request_is_answered_by_a_coroutine(pair: Pair) -> None:
    platform, device = pair

    async def on_register(incoming: Incoming) -> None:
        incoming.respond(100)
        await asyncio.sleep(0.01)
        incoming.respond(403, "Not you")

    platform.on("REGISTER", on_register)
    response = await device.request(request("REGISTER"), flow=await flow_between(device, platform))
    assert (response.status, response.reason) == (403, "Not you")


@pytest.mark.parametrize(
    ("status", "offered", "given"),
    [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
async def test_a_challenge_is_answered_with_the_next_cseq(pair: Pair, status: int, offered: str, given: str) -> None:
    platform, device = pair
    seen: list[Request] = []

    def on_register(incoming: Incoming) -> None:
        seen.append(incoming.request)
        if given in incoming.request.headers:
            incoming.respond(200)
        else:
            incoming.respond(status, headers=[(offered, 'Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"')])

    platform.on("REGISTER", on_register)
    flow = await flow_between(device, platform)
    client = DigestClient("camera", "secret", lambda size: b"\x01" * size)
    response = await device.request(request("REGISTER"), flow=flow, digest=client)
    assert response.status == 200
    first, second = seen
    assert (first.call_id, first.from_.tag) == (second.call_id, second.from_.tag)
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert first.via.branch != second.via.branch


async def test_a_wrong_password_is_refused_after_one_try(pair: Pair) -> None:
    platform, device = pair
    challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n1", algorithm=MD5')]
    platform.on("REGISTER", lambda incoming: incoming.respond(401, headers=challenge))
    client = DigestClient("camera", "wrong", bytes)
    response = await device.request(request("REGISTER"), flow=await flow_between(device, platform), digest=client)
    assert response.status == 401
    assert platform.counters["messages.received"] == 2


async def test_the_platform_sends_down_the_flow_that_the_device_opened(pair: Pair) -> None:
    platform, device = pair
    flows: list[Flow] = []

    def on_register(incoming: Incoming) -> None:
        flows.append(incoming.flow)
        incoming.respond(200)

    platform.on("REGISTER", on_register)
    device.on("MESSAGE", lambda incoming: incoming.respond(200))
    await device.request(request("REGISTER"), flow=await flow_between(device, platform))
    response = await platform.request(request("MESSAGE"), flow=flows[0])
    assert response.status == 200
    assert platform.counters.get("tcp.connected", 0) == 0


async def test_defaults_405_with_allow_options_and_500(pair: Pair) -> None:
    platform, device = pair
    flow = await flow_between(device, platform)

    def broken(_incoming: Incoming) -> None:
        raise LookupError

    async def broken_later(_incoming: Incoming) -> None:
        await asyncio.sleep(0)
        raise LookupError

    platform.on("MESSAGE", broken)
    platform.on("REGISTER", broken_later)
    refused = await device.request(request("PUBLISH"), flow=flow)
    assert refused.status == 405
    assert "MESSAGE" in (refused.headers.get("Allow") or "")
    assert (await device.request(request("OPTIONS"), flow=flow)).status == 200
    assert (await device.request(request("MESSAGE"), flow=flow)).status == 500
    assert (await device.request(request("REGISTER"), flow=flow)).status == 500
    assert platform.counters["endpoint.handler_errors"] == 2


async def test_exactly_one_final_answer(pair: Pair) -> None:
    platform, device = pair
    errors: list[Exception] = []

    def twice(incoming: Incoming) -> None:
        incoming.respond(200)
        try:
            incoming.respond(200)
        except IllegalTransitionError as error:
            errors.append(error)

    platform.on("MESSAGE", twice)
    await device.request(request("MESSAGE"), flow=await flow_between(device, platform))
    assert len(errors) == 1


async def test_silence_is_a_time_out_and_the_request_is_not_sent_again() -> None:
    async with listening("UDP") as platform, listening("UDP") as device:
        seen: list[Incoming] = []
        device.on("MESSAGE", seen.append)
        flow = await flow_between(platform, device)
        with pytest.raises(RequestTimeoutError, match="MESSAGE"):
            await platform.request(request("MESSAGE"), flow=flow, timeout=0.12)
        sent = platform.counters["udp.sent"]
        await asyncio.sleep(0.3)
        assert platform.counters["udp.sent"] == sent
        assert len(seen) == 1  # retransmissions never reach a handler
        assert platform.counters["transactions.clients"] == 0


async def test_subscribe_notify_and_unsubscribe(pair: Pair) -> None:
    platform, device = pair
    granted: list[Notifications] = []
    heard: list[bytes] = []

    def on_subscribe(incoming: Incoming) -> None:
        granted.append(incoming.accept_subscription(300))

    def on_notify(incoming: Incoming) -> None:
        assert incoming.subscription is not None or not incoming.request.body
        heard.append(incoming.request.body)
        incoming.respond(200)

    device.on("SUBSCRIBE", on_subscribe)
    platform.on("NOTIFY", on_notify)
    wanted = request("SUBSCRIBE", b"<Query/>", Event="Catalog;id=7", Expires="600")
    subscription = await platform.subscribe(wanted, flow=await flow_between(platform, device))
    assert subscription.granted == 300
    assert (await granted[0].notify(b"<Notify/>")).status == 200
    assert heard == [b"<Notify/>"]
    subscription.unsubscribe()
    await subscription.wait_ended()
    await eventually(lambda: granted[0].over)


async def test_a_refused_subscription(pair: Pair) -> None:
    platform, device = pair
    device.on("SUBSCRIBE", lambda incoming: incoming.respond(489))
    with pytest.raises(CallRefusedError, match="489"):
        await platform.subscribe(request("SUBSCRIBE", Event="presence"), flow=await flow_between(platform, device))


async def test_a_closed_connection_fails_what_waits_on_it_and_is_told() -> None:
    async with listening("TCP") as platform, listening("TCP") as device:
        gone: list[Flow] = []
        device.on("MESSAGE", lambda incoming: device.close_flow(incoming.flow))
        flow = await flow_between(platform, device)
        platform.on_flow_closed(lambda flow, _reason: gone.append(flow))
        with pytest.raises(FlowClosedError):
            await platform.request(request("MESSAGE"), flow=flow)
        assert gone == [flow]
        with pytest.raises(FlowClosedError):
            await platform.request(request("MESSAGE"), flow=flow)


async def test_overload_is_answered_503_with_retry_after() -> None:
    release = asyncio.Event()

    async def slow(incoming: Incoming) -> None:
        await release.wait()
        incoming.respond(200)

    async with listening("UDP", max_tasks=2) as platform, listening("UDP") as device:
        platform.on("MESSAGE", slow)
        flow = await flow_between(device, platform)
        waiting = [asyncio.create_task(device.request(request("MESSAGE"), flow=flow)) for _ in range(2)]
        await eventually(lambda: platform.counters["endpoint.tasks"] == 2)
        refused = await device.request(request("MESSAGE"), flow=flow)
        assert (refused.status, refused.headers.get("Retry-After")) == (503, "5")
        assert platform.counters["endpoint.overloaded"] == 1
        release.set()
        assert [response.status for response in await asyncio.gather(*waiting)] == [200, 200]


async def test_the_trace_sees_both_directions_until_ended(pair: Pair) -> None:
    platform, device = pair
    seen: list[Trace] = []
    end = platform.trace(seen.append)
    flow = await flow_between(device, platform)
    await device.request(request("OPTIONS"), flow=flow)
    assert [(trace.sent, trace.data.split()[0]) for trace in seen] == [(False, b"OPTIONS"), (True, b"SIP/2.0")]
    end()
    await device.request(request("OPTIONS"), flow=flow)
    assert len(seen) == 2


async def test_leaving_fails_what_waits() -> None:
    device = listening("UDP")
    async with listening("UDP") as platform:
        async with device:
            platform.on("MESSAGE", lambda _incoming: None)
            task = asyncio.create_task(device.request(request("MESSAGE"), flow=await flow_between(device, platform)))
            await asyncio.sleep(0.05)
        with pytest.raises(FlowClosedError):
            await task


async def test_leaving_tells_those_who_wait_for_calls_and_subscriptions() -> None:
    async with listening("UDP") as device:
        device.on_invite(lambda call: call.accept(SDP))
        granted: list[Notifications] = []
        device.on("SUBSCRIBE", lambda incoming: granted.append(incoming.accept_subscription(600)))
        async with listening("UDP") as platform:
            flow = await flow_between(platform, device)
            call = await platform.invite(request("INVITE", SDP), flow=flow)
            await call.answer(5)
            silent = await platform.invite(request("INVITE", SDP), flow=await platform.flow_to("UDP", "127.0.0.1", 9))
            subscription = await platform.subscribe(request("SUBSCRIBE"), flow=flow)
        assert (await call.wait_ended()).by is Party.NETWORK
        assert await subscription.wait_ended()
        with pytest.raises(FlowClosedError):
            await silent.answer()


def test_handlers_for_calls_are_not_handlers_for_requests() -> None:
    with pytest.raises(ValueError, match="calls"):
        Endpoint([]).on("BYE", _nothing)


def _nothing(_incoming: Incoming) -> Awaitable[None] | None:
    return None


async def test_an_answer_after_the_connection_is_gone_does_nothing() -> None:
    answered = asyncio.Event()

    async def slow(incoming: Incoming) -> None:
        incoming.respond(100)
        device.close_flow(flow)
        await eventually(lambda: incoming.answered)
        incoming.respond(200)
        answered.set()

    async with listening("TCP") as platform, listening("TCP") as device:
        platform.on("MESSAGE", slow)
        flow = await flow_between(device, platform)
        with pytest.raises(FlowClosedError):
            await device.request(request("MESSAGE"), flow=flow)
        await asyncio.wait_for(answered.wait(), 5)
        assert platform.counters["endpoint.handler_errors"] == 0


async def test_a_device_is_answered_from_the_address_that_it_reached() -> None:
    seen: list[Flow] = []

    def on_register(incoming: Incoming) -> None:
        seen.append(incoming.flow)
        incoming.respond(200)

    async with Endpoint([Listen("UDP", "0.0.0.0", 0)]) as platform, listening("UDP") as device:
        platform.on("REGISTER", on_register)
        device.on("MESSAGE", lambda incoming: incoming.respond(200, headers=[("Date", str(incoming.request.via))]))
        port = platform.addresses[0][1].port
        flow = await device.flow_to("UDP", "127.0.0.77", port)
        assert (await device.request(request("REGISTER"), flow=flow)).status == 200
        assert seen[0].local == ("127.0.0.77", port)
        answer = await platform.request(request("MESSAGE"), flow=seen[0])
        assert f"127.0.0.77:{port}" in (answer.headers.date or "")


async def test_an_advertised_address_is_written_into_via_and_contact() -> None:
    shown: list[Request] = []

    def on_register(incoming: Incoming) -> None:
        shown.append(incoming.request)
        incoming.respond(200)

    outside = Address("203.0.113.9", 5080)
    async with listening("UDP") as platform, listening("UDP", advertise=lambda _flow: outside) as device:
        platform.on("REGISTER", on_register)
        await device.request(request("REGISTER"), flow=await flow_between(device, platform))
    assert (shown[0].via.host, shown[0].via.port) == outside
    assert shown[0].headers.contact is not None
    assert (shown[0].headers.contact.uri.host, shown[0].headers.contact.uri.port) == outside


async def test_over_tcp_the_contact_names_the_port_where_we_listen() -> None:
    shown: list[Request] = []

    def on_register(incoming: Incoming) -> None:
        shown.append(incoming.request)
        incoming.respond(200)

    async with listening("TCP") as platform, listening("TCP") as device:
        platform.on("REGISTER", on_register)
        await device.request(request("REGISTER"), flow=await flow_between(device, platform))
        assert shown[0].headers.contact is not None
        assert shown[0].headers.contact.uri.port == device.addresses[0][1].port


async def test_names_are_not_resolved() -> None:
    async with listening("UDP") as endpoint:
        with pytest.raises(ValueError, match="example"):
            await endpoint.flow_to("UDP", "camera.example", 5060)
        with pytest.raises(OSError, match="family"):
            await endpoint.flow_to("UDP", "::1", 5060)


async def test_a_bug_in_the_core_costs_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening("UDP") as platform, listening("UDP") as device:
        broken = platform._core.handle_datagram
        monkeypatch.setattr(platform._core, "handle_datagram", lambda *_: 1 // 0)
        flow = await flow_between(device, platform)
        task = asyncio.create_task(device.request(request("OPTIONS"), flow=flow))
        await eventually(lambda: platform.counters["endpoint.internal_errors"] >= 1)
        monkeypatch.setattr(platform._core, "handle_datagram", broken)
        assert (await task).status == 200


async def test_where_answers_cannot_go_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger may send from port 0, as fast as the network carries it."""
    caplog.set_level(logging.INFO)
    async with listening("UDP") as endpoint:
        nowhere = Flow("UDP", endpoint.addresses[0][1], Address("127.0.0.1", 0))
        with pytest.raises(FlowClosedError):
            await endpoint.request(request("OPTIONS"), flow=nowhere, timeout=1)
        assert endpoint.counters["udp.unsent"] == 1
    assert not caplog.records


async def test_no_figure_hides_another() -> None:
    async with listening("UDP") as endpoint:
        layer = endpoint._core.transactions
        named = [name for name in endpoint.counters if name.startswith("transactions.")]
        assert len(named) == len(asdict(layer.counters)) + len(layer.sizes)
