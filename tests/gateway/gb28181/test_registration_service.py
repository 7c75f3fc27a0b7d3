"""REGISTER over real sockets: durable before it is acknowledged, and true after a restart."""

import asyncio
import re
from dataclasses import replace

import pytest

from gateway.devices.model import DeviceState, StateCause
from gateway.devices.presence import Patience
from gateway.errors import UnavailableError
from gateway.gb28181.notices import DeviceOffline, DeviceOnline
from gateway.gb28181.registrar import RegistrarPolicy
from gateway.store import Store
from tests.gateway.gb28181.conftest import ANONYMOUS, CAMERA, NVR, POLICY, Running, Start
from tests.gateway.gb28181.scripted_device import DOMAIN, SERVER, until


async def states(store: Store, device_id: str = NVR) -> list[tuple[str, str, str]]:
    events = await store.events.history(device_id)  # type: ignore[arg-type]
    return [(event.before, event.after, event.cause.value) for _, event in reversed(events)][1:]


async def test_a_registration_is_durable_when_it_is_acknowledged(running: Running, provisioned: Store) -> None:
    async with running.device() as device:
        response = await device.register(extra=[("X-GB-ver", "3.0")])
        assert response.status == 200
        stored = await provisioned.devices.get(NVR)
        assert stored is not None
        assert stored.state is DeviceState.ONLINE
        assert stored.registered_at is not None
        assert await states(provisioned) == [("UNREGISTERED", "ONLINE", "REGISTER")]
        assert running.server.directory.flow(NVR) is not None
        assert running.notices[:1] == [DeviceOnline(NVR, StateCause.REGISTER, was_online=False)]


async def test_what_headers_tell_is_kept_when_the_server_ends_at_the_latest(start: Start, provisioned: Store) -> None:
    async with start() as running, running.device() as device:
        await device.register(extra=[("X-GB-Ver", " 2.0")])
    stored = await provisioned.devices.get(NVR)
    assert stored is not None
    assert (stored.user_agent, stored.gb_version) == ("Scripted/1", "2.0")


async def test_the_200_carries_what_devices_want_back(running: Running) -> None:
    async with running.device() as device:
        response = await device.register(120)
        assert response.headers.get("Expires") == "120"
        assert response.headers.contact is not None
        assert response.headers.contact.expires == 120
        assert response.headers.get("X-GB-ver") == "3.0"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", response.headers.date or "")


async def test_over_tcp_too_and_a_closed_connection_is_offline_at_once(running: Running, provisioned: Store) -> None:
    async with running.device(transport="TCP") as device:
        assert (await device.register()).status == 200
        assert await device.keepalive() == 200
        device.endpoint.close_flow(device.flow)
        await until(lambda: running.server.directory.flow(NVR) is None)
        await until(lambda: running.server.states.waiting == 0)
    assert await states(provisioned) == [
        ("UNREGISTERED", "ONLINE", "REGISTER"),
        ("ONLINE", "OFFLINE", "CONNECTION_LOST"),
    ]


async def test_a_new_connection_needs_a_new_registration(running: Running) -> None:
    async with running.device(transport="TCP") as device:
        await device.register()
        device.endpoint.close_flow(device.flow)
        await until(lambda: running.server.directory.flow(NVR) is None)
        device.flow = await device.endpoint.flow_to("TCP", *running.address("TCP"))
        assert await device.keepalive() == 403
        assert (await device.register()).status == 200
        assert await device.keepalive() == 200


async def test_an_anonymous_credential_goes_by_the_device_id(running: Running) -> None:
    async with running.device(ANONYMOUS) as device:
        assert (await device.register()).status == 200
        registered = running.server.directory.get(ANONYMOUS)
        assert registered is not None
        assert "digest-username" not in registered.deviations.as_dict()


async def test_a_wrong_password_is_told_to_whoever_asks_why(running: Running) -> None:
    async with running.device(CAMERA, password="wrong") as device:
        assert (await device.register()).status == 401
    (refusal,) = running.server.refusals.of_device(CAMERA)
    assert (refusal.reason, refusal.count) == ("wrong answer", 1)
    async with running.device(CAMERA) as device:
        assert (await device.register()).status == 200
    assert running.server.refusals.of_device(CAMERA) == []


async def test_a_wrong_password_leaves_the_device_unregistered(running: Running, provisioned: Store) -> None:
    async with running.device(CAMERA, password="wrong") as device:
        await device.register()
    stored = await provisioned.devices.get(CAMERA)
    assert stored is not None
    assert stored.state is DeviceState.UNREGISTERED


async def test_a_failed_login_does_not_log_the_real_device_off(running: Running) -> None:
    async with running.device() as device, running.device(password="wrong") as attacker:
        await device.register()
        for expires in (0, 3600):
            assert (await attacker.register(expires)).status in {401, 403}
        assert running.server.directory.flow(NVR) is not None
        assert await device.keepalive() == 200


async def test_an_unknown_device_is_refused(running: Running) -> None:
    async with running.device("34020000001320009999") as device:
        assert (await device.register()).status == 403
    (refusal,) = running.server.refusals.strangers()
    assert (refusal.device_id, refusal.reason) == ("34020000001320009999", "no device of this id is provisioned")


async def test_unregistering_that_cannot_be_written_changes_nothing(
    running: Running, provisioned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("away")

    async with running.device() as device:
        await device.register()
        with monkeypatch.context() as patch:
            patch.setattr(provisioned.devices, "set_state", away)
            assert (await device.register(0)).status == 503
        assert running.notices[-2:] == [
            DeviceOffline(NVR, StateCause.UNREGISTER),
            DeviceOnline(NVR, StateCause.REGISTER, was_online=False),
        ]
        assert running.server.directory.flow(NVR) is not None
        assert await device.keepalive() == 200
        assert (await device.register(0)).status == 200
    assert (await states(provisioned))[-1] == ("ONLINE", "OFFLINE", "UNREGISTER")


async def test_unregistering_is_offline_and_forgotten_by_the_store(running: Running, provisioned: Store) -> None:
    async with running.device() as device:
        await device.register()
        response = await device.register(0)
        assert (response.status, response.headers.get("Expires")) == (200, "0")
        assert running.notices[-1] == DeviceOffline(NVR, StateCause.UNREGISTER)
        assert await device.keepalive() == 403
        assert (await device.register(0)).status == 200
    assert [entry async for entry in provisioned.devices.load_registrations()] == []
    assert (await states(provisioned))[-1] == ("ONLINE", "OFFLINE", "UNREGISTER")


async def test_a_refresh_is_no_event_and_a_restarted_device_is_told(running: Running, provisioned: Store) -> None:
    async with running.device() as device:
        await device.register()
        await device.register()
        assert len(await states(provisioned)) == 1
        device._cseq = 0
        device.endpoint.on("MESSAGE", lambda incoming: incoming.respond(200))
        await device.register()
        refreshes = [notice for notice in running.notices if isinstance(notice, DeviceOnline)]
        assert [(notice.was_online, notice.restarted) for notice in refreshes] == [
            (False, False),
            (True, False),
            (True, True),
        ]


async def test_a_registration_that_is_not_renewed_ends(start: Start, provisioned: Store) -> None:
    async with start() as running:
        async with running.device() as device:
            await device.register(1)
        await until(lambda: running.server.directory.flow(NVR) is None)
    assert (await states(provisioned))[-1] == ("ONLINE", "OFFLINE", "REGISTRATION_EXPIRED")
    assert [entry async for entry in provisioned.devices.load_registrations()] == []


async def test_silence_is_offline_and_a_keepalive_brings_it_back(start: Start, provisioned: Store) -> None:
    policy = replace(POLICY, patience=Patience(interval=0.1, count=3, grace=0))
    async with start(policy) as running, running.device() as device:
        await device.register()
        await until(lambda: running.server.directory.flow(NVR) is None)
        assert await device.keepalive() == 200
        assert running.server.directory.flow(NVR) is not None
        await until(lambda: running.server.states.waiting == 0)
    assert [cause for _, _, cause in await states(provisioned)][:3] == ["REGISTER", "KEEPALIVE_LOST", "KEEPALIVE"]


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_after_a_restart_a_device_goes_on_without_registering(
    start: Start, provisioned: Store, transport: str
) -> None:
    async with start() as running:
        udp, tcp = running.address("UDP").port, running.address("TCP").port
        device = running.device(transport=transport)
        await device.__aenter__()
        await device.register()
        await device.keepalive()
    async with start(udp=udp, tcp=tcp) as running:
        assert (NVR, StateCause.RESTART) in [
            (notice.device_id, notice.cause) for notice in running.notices if isinstance(notice, DeviceOnline)
        ]
        if transport == "TCP":
            assert running.server.directory.flow(NVR) is None
            device.flow = await device.endpoint.flow_to("TCP", *running.address("TCP"))
        assert await device.keepalive() == 200
        assert running.server.directory.flow(NVR) is not None
        await until(lambda: device.count("Catalog") > 0)
        await device.__aexit__()
    assert await states(provisioned) == [("UNREGISTERED", "ONLINE", "REGISTER")]


async def test_a_registration_that_ended_while_we_were_down_is_ended(start: Start, provisioned: Store) -> None:
    async with start() as running, running.device() as device:
        await device.register(1)
    await asyncio.sleep(1.1)
    async with start() as running:
        assert running.server.directory.flow(NVR) is None
        async with running.device() as device:
            assert await device.keepalive() == 403
    assert (await states(provisioned))[-1] == ("ONLINE", "OFFLINE", "REGISTRATION_EXPIRED")
    (_, ended), (_, began), *_ = await provisioned.events.history(NVR)
    assert (ended.at - began.at).total_seconds() == pytest.approx(1.0, abs=0.05), "that is when it ended"


async def test_many_devices_register_at_once(running: Running, provisioned: Store) -> None:
    async with running.device() as one, running.device(CAMERA) as two, running.device(ANONYMOUS) as three:
        responses = await asyncio.gather(*(device.register() for device in (one, two, three)))
        assert [response.status for response in responses] == [200, 200, 200]
        again = await asyncio.gather(*(one.register() for _ in range(5)))
        assert {response.status for response in again} == {200}
        loaded = {device.device_id async for device, _ in provisioned.devices.load_registrations()}
        assert loaded == {NVR, CAMERA, ANONYMOUS}


async def test_a_deleted_device_is_forgotten(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        running.server.liveness.forget(NVR)
        assert await device.keepalive() == 403


async def test_a_flood_does_not_reach_the_store(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        answers = [(await device.register()).status for _ in range(30)]
        assert 503 in answers
        assert running.server.directory.flow(NVR) is not None


async def test_the_realm_and_server_of_another_platform_are_accepted_and_shown(start: Start) -> None:
    policy = replace(POLICY, registrar=RegistrarPolicy(realm=DOMAIN, server_id="3" * 20))
    async with start(policy) as running, running.device() as device:
        assert (await device.register()).status == 200
        registered = running.server.directory.get(NVR)
        assert registered is not None
        assert registered.deviations.as_dict()["digest-uri"] == 1
    assert SERVER != "3" * 20


async def test_a_stranger_with_a_registered_id_is_refused(running: Running) -> None:
    async with running.device() as device:
        await device.register()
        registered = running.server.directory.get(NVR)
        assert registered is not None
        registered.host = "127.0.0.2"  # it registered from elsewhere
        assert await device.keepalive() == 403
        assert registered.deviations.as_dict()["message-from-elsewhere"] == 1
