"""What goes wrong is said, with stage and cause, and put right without a person where that can be."""

import asyncio
import time

import pytest

from gateway.simulator.config import Server
from gateway.simulator.events import EventKind
from gateway.simulator.misbehaviour import Misbehaviour
from tests.e2e.cameras import cameras, ipc, ipcs
from tests.e2e.nat import Nat
from tests.e2e.playing import flv, until
from tests.e2e.running import DOMAIN, SERVER_ID, RunningGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_refusal_is_told_to_the_caller(impatient: RunningGateway) -> None:
    async with ipcs(impatient, misbehaviour=Misbehaviour(refuse=486)) as (running, [device_id]):
        channel = await impatient.wait_for(device_id, "ONLINE")
        response = await impatient.set_state(channel, "ACTIVE")
        assert (response.status_code, response.json()["error_code"]) == (500, "VIS.0305")
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert channel.failure is not None
        assert channel.failure.startswith("invite: refused 486")
        assert channel.play is None
        assert running.figures.invitations == 1


@pytest.mark.parametrize(
    ("manners", "failure"),
    [
        (Misbehaviour(ring_only=True), "invite: no_answer"),
        (Misbehaviour(no_media=True), "media: no_media"),
    ],
    ids=["no answer", "silence after 200"],
)
async def test_what_did_not_come_is_named(impatient: RunningGateway, manners: Misbehaviour, failure: str) -> None:
    async with ipcs(impatient, misbehaviour=manners) as (_, [device_id]):
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert (await impatient.set_state(channel, "ACTIVE")).status_code == 200  # under way
        await impatient.wait_for(device_id, "INVITING")
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert channel.failure is not None
        assert channel.failure.startswith(failure)


@pytest.mark.parametrize(
    ("manners", "cause"),
    [(Misbehaviour(bye_after=3), "flowing: device_bye"), (Misbehaviour(silent=3), "flowing: media_lost")],
    ids=["BYE", "silence"],
)
async def test_a_lost_stream_is_called_again(impatient: RunningGateway, manners: Misbehaviour, cause: str) -> None:
    """The device itself stays there: its keepalives come often enough for a gateway that waits 11 s for one."""
    async with ipcs(impatient, misbehaviour=manners, keepalive_s=1.0) as (running, [device_id]):
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert (await impatient.set_state(channel, "ACTIVE")).status_code == 200
        await impatient.wait_for(device_id, "INVITE_SUCCESS")
        channel = await impatient.wait_for(device_id, "TEMPORARY_OFFLINE")
        assert channel.failure is not None
        assert channel.failure.startswith(cause)
        await impatient.wait_for(device_id, "INVITE_SUCCESS")
        await running.wait_for(EventKind.STREAMING, device_id, count=2)
        assert running.figures.streaming == 1
        history = (await impatient.client.get(f"{impatient.url}/gb/v1/devices/{device_id}/events")).json()["events"]
        assert "TEMPORARY_OFFLINE" in {event["after"] for event in history}


async def test_a_device_that_hangs_is_noticed(impatient: RunningGateway) -> None:
    """First its stream, then itself: keepalives come each second and then no more."""
    manners = Misbehaviour(die=5)
    async with ipcs(impatient, misbehaviour=manners, keepalive_s=1.0) as (running, [device_id]):
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert (await impatient.set_state(channel, "ACTIVE")).status_code == 200
        await impatient.wait_for(device_id, "INVITE_SUCCESS")
        await running.wait_for(EventKind.DIED, device_id)
        died = time.perf_counter()
        await impatient.wait_for(device_id, "TEMPORARY_OFFLINE", seconds=10)
        await impatient.device_is(device_id, "OFFLINE", seconds=20)
        assert time.perf_counter() - died < 15


async def test_a_lost_connection_is_offline_at_once(impatient: RunningGateway) -> None:
    [device_id] = await impatient.provision()
    manners = Misbehaviour(no_unregister=True)
    async with cameras(impatient, [ipc(device_id)], transport="TCP", misbehaviour=manners):
        channel = await impatient.wait_for(device_id, "ONLINE")
        assert (await impatient.set_state(channel, "ACTIVE")).status_code == 200
        await impatient.wait_for(device_id, "INVITE_SUCCESS")
    await impatient.device_is(device_id, "OFFLINE", seconds=5)
    assert (await impatient.channel(device_id)) is not None
    async with cameras(impatient, [ipc(device_id)], transport="TCP") as again:
        await impatient.wait_for(device_id, "INVITE_SUCCESS")  # it was wanted all the time
        assert again.figures.invitations == 1


async def test_many_callers_make_one_call(impatient: RunningGateway) -> None:
    async with ipcs(impatient) as (running, [device_id]):
        channel = await impatient.wait_for(device_id, "ONLINE")
        responses = await asyncio.gather(*(impatient.set_state(channel, "ACTIVE") for _ in range(6)))
        codes = sorted("" if one.is_success else one.json()["error_code"] for one in responses)
        assert codes == ["", *["VIS.0308"] * 5]
        await impatient.wait_for(device_id, "INVITE_SUCCESS")
        assert running.figures.invitations == 1
        responses = await asyncio.gather(*(impatient.set_state(channel, "STOPPED") for _ in range(4)))
        codes = sorted("" if one.is_success else one.json()["error_code"] for one in responses)
        assert codes == ["", *["VIS.0309"] * 3]
        await running.wait_for(EventKind.STREAM_ENDED, device_id)
        again = await impatient.set_state(channel, "STOPPED")
        assert (again.status_code, again.json()["error_code"]) == (400, "VIS.0309")
        assert len(running.figures.streams) == 1


async def test_a_device_behind_nat_is_followed_to_its_new_port(impatient: RunningGateway) -> None:
    """Its Contact is of no use, and in mid-call the NAT forgets it: only a keepalive shows the new port."""
    [device_id] = await impatient.provision()
    async with Nat.open("127.0.0.1", impatient.sip_port) as nat:
        server = Server(SERVER_ID, "127.0.0.1", nat.port, DOMAIN)
        manners = Misbehaviour(private_contact=True)
        async with cameras(
            impatient, [ipc(device_id)], server=server, misbehaviour=manners, keepalive_s=1.0
        ) as running:
            channel = await impatient.wait_for(device_id, "ONLINE")
            assert (await impatient.set_state(channel, "ACTIVE")).status_code == 200
            channel = await impatient.wait_for(device_id, "INVITE_SUCCESS")
            assert channel.play is not None
            await nat.forget()
            before = running.figures.keepalives
            await until(lambda: running.figures.keepalives >= before + 2)
            assert running.figures.keepalives_lost == 0
            assert await flv(channel.play["http_flv"], 2)
            assert (await impatient.set_state(channel, "STOPPED")).status_code == 200
            await running.wait_for(EventKind.STREAM_ENDED, device_id)  # the BYE found it
            await impatient.wait_for(device_id, "ONLINE")
            assert len(running.figures.streams) == 1
