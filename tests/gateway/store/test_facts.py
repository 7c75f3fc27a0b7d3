"""What statistics are drawn from: facts of devices, packet sums, and history that is pruned."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from alembic import command
from sqlalchemy import Connection, text

from gateway.devices.model import ChannelId, DeviceFacts, DeviceId, DeviceState, DeviceType, StateCause, StateEvent
from gateway.devices.roster import Wanted
from gateway.devices.rosters import Rosters
from gateway.statistics.model import ChannelDay, Sums
from gateway.statistics.pruning import HistoryPruner
from gateway.store import NewDevices, SecretBox, Store
from gateway.store.engine import open_engines
from gateway.store.migrate import configuration, upgrade
from gateway.streams.model import StreamEvent
from tests.gateway.store.samples import NOW, PROJECT

CAMERA = DeviceId("34020000001320000001")
HOUR = timedelta(hours=1)


def event(
    hours: float, after: str, cause: StateCause = StateCause.REGISTER, channel: str | None = None, before: str = ""
) -> StateEvent:
    return StateEvent(
        at=NOW + hours * HOUR,
        project_id=PROJECT,
        device_id=CAMERA,
        channel_id=None if channel is None else ChannelId(channel),
        before=before,
        after=after,
        cause=cause,
        detail="",
    )


def step(hours: float, name: str = "cam") -> StreamEvent:
    """An event of a stream that is pushed or pulled."""
    return StreamEvent(
        at=NOW + hours * HOUR,
        project_id=PROJECT,
        stream_name=name,
        before="",
        after="FLOWING",
        cause="MEDIA",
        detail="",
    )


async def create(store: Store, quantity: int = 1, at: datetime = NOW) -> Sequence[DeviceId]:
    new = NewDevices(project_id=PROJECT, type=DeviceType.IPC, credential="0100", suffix="", description="", at=at)
    return await store.devices.create(new, domain="3402000000", quantity=quantity, quota=1000)


async def facts(store: Store) -> DeviceFacts:
    (found,) = await store.devices.facts([CAMERA])
    assert [found] == [one async for one in store.devices.load_facts()]
    return found


async def test_facts_follow_the_states(store: Store) -> None:
    await create(store)
    assert (await facts(store))[2:] == ("IPC", "0100", "UNREGISTERED", NOW, NOW, None, None, None)
    await store.devices.set_state(event(1, "ONLINE"))
    await store.devices.set_state(event(2, "OFFLINE"))
    assert (await facts(store)).last_offline_at == NOW + 2 * HOUR
    await store.devices.set_state(event(3, "OFFLINE", StateCause.REGISTRATION_EXPIRED))
    assert (await facts(store)).last_offline_at == NOW + 2 * HOUR  # it was offline already
    await store.devices.set_state(event(4, "ONLINE"))
    await store.devices.set_state(event(3.5, "OFFLINE"))  # the clock was set back
    assert (await facts(store)).last_offline_at == NOW + 3.5 * HOUR
    await store.channels.set_status([event(5, "INVITING", StateCause.INVITE, "c")])
    assert (await facts(store)).first_media_at is None
    for hours in (6, 7):
        await store.channels.set_status([event(hours, "INVITE_SUCCESS", StateCause.MEDIA, "c")])
    assert (await facts(store)).first_media_at == NOW + 6 * HOUR


async def test_a_roster_follows_every_change(store: Store) -> None:
    rosters = Rosters(store)

    async def listed() -> dict[str, str]:
        roster = await rosters.of(PROJECT)
        ids = roster.select(Wanted(), None).entries
        online = roster.select(Wanted(state=DeviceState.ONLINE), None).entries
        return {device_id[-1]: "ONLINE" if device_id in online else "" for device_id in ids}

    assert await listed() == {}
    await create(store, 3)
    assert await listed() == {"1": "", "2": "", "3": ""}
    await store.devices.set_state(event(1, "ONLINE"))
    assert await listed() == {"1": "ONLINE", "2": "", "3": ""}
    assert await store.devices.delete(DeviceId("34020000001320000002"), NOW)
    await store.devices.set_state(event(2, "OFFLINE"))
    assert await listed() == {"1": "", "3": ""}
    assert len(await Rosters(store).of("b" * 32)) == 0


async def test_devices_come_in_the_order_asked_for(store: Store) -> None:
    ids = list(await create(store, 3))[::-1]
    found = await store.devices.of_ids([*ids, DeviceId("gone")])
    assert [device.device_id for device in found] == ids


async def test_packet_sums_are_written_over(store: Store) -> None:
    day = date(2026, 3, 1)
    sums = {ChannelDay(day, f"d{number:04d}", "c"): Sums(number, number) for number in range(1, 700)}
    await store.packets.save(sums)
    await store.packets.save(
        {ChannelDay(day, "d0001", "c"): Sums(2**40, 5), ChannelDay(date(2026, 3, 2), "d", "c"): Sums(1, 1)}
    )
    await store.packets.save({})
    expected = sums | {ChannelDay(day, "d0001", "c"): Sums(2**40, 5)}
    assert {key: one async for key, one in store.packets.load(day)} == expected


async def test_old_history_is_pruned_and_given_ids_are_remembered(store: Store) -> None:
    await create(store)
    for hours in range(10):
        await store.events.append([event(hours, "ONLINE"), event(hours + 0.5, "OFFLINE")])
    position, deleted = await store.events.prune(PROJECT, NOW + 5 * HOUR, limit=4)
    assert (position, deleted) != (None, 0)
    pruner = HistoryPruner(store, lambda: NOW + 5 * HOUR + timedelta(days=90), days=90)
    await store.packets.save(
        {ChannelDay(date(2026, 2, 28), "d", "c"): Sums(1, 1), ChannelDay(date(2026, 3, 1), "d", "c"): Sums(1, 1)}
    )
    assert await pruner.prune() == 10 - deleted
    assert await pruner.prune() == 0
    left = [one.at for _, one in await store.events.history(CAMERA)]
    assert left == [NOW + hours / 2 * HOUR for hours in range(19, 9, -1)] + [NOW]
    kept = [day for day in (28, 29) if [one async for one in store.packets.load(date(2026, 2, 1) + timedelta(day - 1))]]
    assert kept == [29]  # the 1st of March


async def test_old_events_of_streams_are_pruned_in_small_steps_and_nothing_else(store: Store) -> None:
    await create(store)
    await store.events.append([event(0, "ONLINE")])
    await store.stream_events.append([step(hours) for hours in range(10)] + [step(0, "gone"), step(9, "gone")])
    await store.packets.save({ChannelDay(date(2026, 2, 28), "d", "c"): Sums(1, 1)})
    assert await store.stream_events.prune(NOW + 5 * HOUR, limit=2) == 2
    now = NOW + 5 * HOUR + timedelta(days=7)
    pruner = HistoryPruner(store, lambda: now, days=0, stream_days=7)
    assert await pruner.prune_streams() == 4
    assert await pruner.prune_streams() == 0
    left = [one.at for _, one in await store.stream_events.history(PROJECT, "cam")]
    assert left == [NOW + hours * HOUR for hours in (9, 8, 7, 6, 5)]
    assert [one.at for _, one in await store.stream_events.history(PROJECT, "gone")] == [NOW + 9 * HOUR]
    assert [one.after for _, one in await store.events.history(CAMERA)][:1] == ["ONLINE"]
    assert [one async for one in store.packets.load(date(2026, 2, 28))], "nor what statistics are made of"


async def test_what_is_kept_for_ever_is_not_touched(store: Store) -> None:
    await store.stream_events.append([step(0)])
    pruner = HistoryPruner(store, lambda: NOW + timedelta(days=9999), days=0)
    await pruner.run()
    assert await store.stream_events.history(PROJECT, "cam")


async def test_the_migration_reads_the_facts_from_the_history(empty_url: str, secrets: SecretBox) -> None:
    def before(connection: Connection) -> None:
        command.upgrade(configuration(connection), "0001")
        connection.execute(text("INSERT INTO project VALUES ('p', 'p', '2026-01-01', NULL, '{}')"))
        connection.execute(
            text("INSERT INTO credential VALUES ('u', 'p', 'NORMAL', :secret, '', '2026-01-01', '2026-01-01')"),
            {"secret": b""},
        )
        for device_id, state in (("a", "ONLINE"), ("b", "OFFLINE"), ("c", "OFFLINE"), ("d", "UNREGISTERED")):
            connection.execute(
                text(
                    "INSERT INTO device (device_id, project_id, type, credential, state, catalogue, suffix,"
                    " description, created_at, updated_at) VALUES (:id, 'p', 'IPC', 'u', :state, 'IDEL', '', '',"
                    " '2026-01-01', '2026-01-05')"
                ),
                {"id": device_id, "state": state},
            )
        for device_id, channel_id, day, was, then, cause in (
            ("a", None, 2, "UNREGISTERED", "ONLINE", "REGISTER"),
            ("a", "x", 2, "INVITING", "INVITE_SUCCESS", "MEDIA"),
            ("a", "x", 3, "INVITING", "INVITE_SUCCESS", "MEDIA"),
            ("a", "x", 4, "ONLINE", "OFFLINE", "DEVICE_OFFLINE"),
            ("b", None, 3, "ONLINE", "OFFLINE", "KEEPALIVE_LOST"),
            ("b", None, 4, "OFFLINE", "OFFLINE", "REGISTRATION_EXPIRED"),
        ):
            connection.execute(
                text(
                    "INSERT INTO state_event (at, project_id, device_id, channel_id, before, after, cause, detail)"
                    f" VALUES ('2026-01-0{day}', 'p', :d, :c, :b, :a, :why, '')"
                ),
                {"d": device_id, "c": channel_id, "b": was, "a": then, "why": cause},
            )

    writing, reading = open_engines(empty_url)
    async with writing.begin() as connection:
        await connection.run_sync(before)
        await connection.run_sync(upgrade)
    await writing.dispose()
    await reading.dispose()
    async with Store.open(empty_url, secrets=secrets) as store:
        found = {one.device_id: (one.last_offline_at, one.first_media_at) async for one in store.devices.load_facts()}
    days = {device_id: tuple(None if at is None else at.day for at in times) for device_id, times in found.items()}
    assert days == {"a": (None, 2), "b": (3, None), "c": (5, None), "d": (None, None)}
