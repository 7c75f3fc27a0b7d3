"""Catalogue subscriptions: made when a device comes online, made anew when they end, gone with it."""

from dataclasses import replace

from gateway.devices.model import CatalogueStatus
from gateway.gb28181.manscdp import Root, build
from gateway.gb28181.subscriptions import CatalogueSubscriptions
from gateway.store import Store
from sip.incoming import Incoming
from tests.gateway.gb28181.conftest import NVR, POLICY, Running, Start
from tests.gateway.gb28181.scripted_device import catalogue, item, until
from tests.gateway.gb28181.test_catalogue_service import catalogue_is, channel, channels_of, script


async def test_a_subscription_brings_changes(start: Start, provisioned: Store) -> None:
    policy = replace(POLICY, subscribe_catalogue=True)
    told = script(catalogue(item(channel(1))))
    async with start(policy) as running, running.device(script=told) as device:
        events: list[str] = []

        async def grant(incoming: Incoming) -> None:
            events.append(incoming.request.headers.get("Event") or "")
            notifications = incoming.accept_subscription(incoming.request.headers.expires or 0)
            await catalogue_is(provisioned, CatalogueStatus.QUERIED)
            added = catalogue(item(channel(2), more="<Event>ADD</Event>"))
            empty = build(Root.NOTIFY, "Catalog", 5, NVR).decode()
            body = empty.replace("</DeviceID>", f"</DeviceID>{added}", 1).encode()
            await notifications.notify(body, "Application/MANSCDP+xml")

        device.endpoint.on("SUBSCRIBE", grant)
        await device.register()
        await catalogue_is(provisioned, CatalogueStatus.QUERIED)
        await until(lambda: len(running.server.directory.get(NVR).codes) == 2)  # type: ignore[union-attr]
        assert set(await channels_of(provisioned)) == {channel(1), channel(2)}
        assert events[0].startswith("Catalog;id=")
        assert running.server.subscriptions is not None
        assert len(running.server.subscriptions) == 1
        await device.register(0)
        assert len(running.server.subscriptions) == 0


async def test_a_refusal_is_counted_and_tried_again(running: Running) -> None:
    asked: list[Incoming] = []
    subscriptions = CatalogueSubscriptions(running.server.directory, running.server.messenger, back_off=[0.05])
    running.server.notices.listen(subscriptions.handle_notice)
    async with running.device() as device:
        device.endpoint.on("SUBSCRIBE", lambda incoming: (asked.append(incoming), incoming.respond(489))[1])
        await device.register()
        await until(lambda: len(asked) >= 3)
        hot = running.server.directory.get(NVR)
        assert hot is not None
        assert hot.deviations.as_dict()["subscription-refused"] >= 2
    await subscriptions.close()
    assert len(subscriptions) == 0


async def test_nobody_is_asked_unless_it_is_wanted(running: Running) -> None:
    assert running.server.subscriptions is None
