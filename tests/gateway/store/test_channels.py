"""Channels, the catalogue's tree, and the streams that come with them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from gateway.devices.model import (
    CatalogueChange,
    CatalogueEntry,
    CatalogueStatus,
    ChannelId,
    DeviceId,
    DeviceState,
    DeviceType,
    InvitationStatus,
    StateCause,
    StateEvent,
)
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.scope import Scope
from gateway.store import ChannelUpdate, NewDevices, Store
from gateway.streams.model import AccessType, ShareType, StreamState
from tests.gateway.store.samples import NOW, PROJECT

NVR = DeviceId("34020000001180000001")
LATER = NOW + timedelta(minutes=1)
FIRST, SECOND = ChannelId("34020000001310000001"), ChannelId("34020000001310000002")


@pytest.fixture(autouse=True)
async def nvr(store: Store) -> None:
    new = NewDevices(project_id=PROJECT, type=DeviceType.NVR, credential="0100", suffix="xc", description="", at=NOW)
    await store.devices.create(new, domain="3402000000", quantity=1, quota=10)
    await store.devices.set_state(event(None, DeviceState.ONLINE.value, StateCause.REGISTER))


def event(channel_id: ChannelId | None, after: str, cause: StateCause) -> StateEvent:
    return StateEvent(
        at=LATER,
        project_id=PROJECT,
        device_id=NVR,
        channel_id=channel_id,
        before="",
        after=after,
        cause=cause,
        detail="",
    )


def entry(node_id: str, *, on: bool = True, video: bool = True, name: str = "门口") -> CatalogueEntry:
    return CatalogueEntry(
        node_id=node_id,
        name=name,
        video=video,
        reported_on=on,
        parent_id=NVR,
        manufacturer="Acme",
        ptz_type=1,
        longitude=116.4,
        latitude=39.9,
    )


async def take(store: Store, *entries: CatalogueEntry, complete: bool = True) -> CatalogueChange:
    return await store.channels.upsert_catalogue(NVR, entries, complete=complete, at=LATER)


def ids(channels: Sequence[object]) -> list[str]:
    return [channel.channel_id for channel in channels]  # type: ignore[attr-defined]


async def test_new_channels_come_with_a_stream_each(store: Store) -> None:
    change = await take(store, entry(FIRST), entry(SECOND, on=False))
    assert [(channel.channel_id, channel.status) for channel in change.added] == [
        (FIRST, InvitationStatus.ONLINE),
        (SECOND, InvitationStatus.OFFLINE),
    ]
    channel = await store.channels.get(NVR, FIRST)
    assert channel == change.added[0]
    assert (channel.stream_name, channel.suffix, channel.name) == (f"channel_{NVR}_{FIRST}_xc", "xc", "门口")
    assert (channel.manufacturer, channel.ptz_type, channel.longitude) == ("Acme", 1, 116.4)
    stream = await store.streams.get(Scope(PROJECT), channel.stream_name)
    assert stream is not None
    assert (stream.stream_id, stream.app, stream.device_id) == (channel.stream_id, "default", NVR)
    assert (stream.access_type, stream.share_type, stream.state) == (
        AccessType.GB28181,
        ShareType.PRIVATE,
        StreamState.STOPPED,
    )
    assert await store.streams.find("default", channel.stream_name) == stream
    device = await store.devices.get(NVR)
    assert device is not None
    assert device.catalogue is CatalogueStatus.QUERIED


async def test_a_later_answer_changes_what_is_told_but_no_state(store: Store) -> None:
    await take(store, entry(FIRST), entry(SECOND, on=False))
    change = await take(store, entry(FIRST, on=False, name="new"), entry(SECOND))
    assert (ids(change.added), ids(change.turned_on), ids(change.turned_off)) == ([], [SECOND], [FIRST])
    assert (change.turned_off[0].name, change.turned_off[0].status) == ("new", InvitationStatus.ONLINE)
    change = await take(store, entry(FIRST, on=False, name="new"), entry(SECOND))
    assert change == CatalogueChange((), (), ())


async def test_nothing_is_deleted_by_absence(store: Store) -> None:
    await take(store, entry(FIRST), entry(SECOND))
    for entries, complete in (([entry(FIRST)], False), ([], True), ([], False)):
        assert await take(store, *entries, complete=complete) == CatalogueChange((), (), ())
    assert ids((await take(store, entry(FIRST))).turned_off) == [SECOND]
    assert ids((await store.channels.of_devices([NVR]))[NVR]) == [FIRST, SECOND]
    assert ids((await take(store, entry(FIRST), entry(SECOND))).turned_on) == [SECOND]


async def test_a_channel_told_twice_is_one(store: Store) -> None:
    change = await take(store, entry(FIRST, name="first"), entry(FIRST, name="last"))
    assert [channel.name for channel in change.added] == ["last"]


async def test_nodes_that_are_no_channels_are_kept_apart(store: Store) -> None:
    await take(store, entry("34020000002160000001", video=False, name="floor 1"), entry(FIRST))
    await take(store, entry("34020000002160000001", video=False, name="floor 2"))
    ((node,),) = [await store.channels.nodes(NVR)]
    assert (node.node_id, node.name, node.video) == ("34020000002160000001", "floor 2", False)
    assert ids((await store.channels.of_devices([NVR]))[NVR]) == [FIRST]


async def test_names_are_bounded(store: Store) -> None:
    change = await take(store, entry(FIRST, name="x\x00" * 9000))
    assert change.added[0].name == "x" * 255


async def test_the_answer_of_a_deleted_device_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        await store.channels.upsert_catalogue(DeviceId("gone"), [entry(FIRST)], complete=True, at=NOW)


async def test_states_are_set_with_their_events(store: Store) -> None:
    await take(store, entry(FIRST), entry(SECOND))
    changes = [(FIRST, InvitationStatus.INVITING, StateCause.INVITE), (FIRST, InvitationStatus.INVITE_SUCCESS, StateCause.MEDIA)]  # fmt: skip  # noqa: E501
    await store.channels.set_status([event(channel, after.value, cause) for channel, after, cause in changes])
    channel = await store.channels.get(NVR, FIRST)
    assert channel is not None
    assert channel.status is InvitationStatus.INVITE_SUCCESS
    history = await store.events.history(NVR, channel_id=FIRST)
    assert [event.cause for _, event in history] == [StateCause.MEDIA, StateCause.INVITE, StateCause.CATALOGUE]


async def test_a_device_takes_its_channels_along(store: Store) -> None:
    await take(store, entry(FIRST))
    lost = event(FIRST, InvitationStatus.OFFLINE.value, StateCause.DEVICE_OFFLINE)
    await store.devices.set_state(event(None, "OFFLINE", StateCause.KEEPALIVE_LOST), channels=[lost])
    channel = await store.channels.get(NVR, FIRST)
    assert channel is not None
    assert channel.status is InvitationStatus.OFFLINE


async def test_what_is_wanted_makes_the_stream_active_and_counts(store: Store) -> None:
    await take(store, entry(FIRST), entry(SECOND))
    await store.channels.set_wanted(NVR, FIRST, True, at=LATER, quota=1)
    await store.channels.set_wanted(NVR, FIRST, True, at=LATER, quota=1)  # again: no second place
    with pytest.raises(QuotaError):
        await store.channels.set_wanted(NVR, SECOND, True, at=LATER, quota=1)
    assert await store.streams.count(PROJECT) == (2, 1)
    assert [channel.channel_id async for channel in store.channels.load() if channel.wanted] == [FIRST]
    await store.channels.set_wanted(NVR, FIRST, False, at=LATER)
    assert await store.streams.count(PROJECT) == (2, 0)
    with pytest.raises(NotFoundError):
        await store.channels.set_wanted(NVR, ChannelId("gone"), True, at=LATER)


async def test_the_quota_holds_under_concurrent_calls(store: Store) -> None:
    channels = [ChannelId(f"3402000000131{number:07d}") for number in range(1, 21)]
    await take(store, *map(entry, channels))
    results = await asyncio.gather(
        *(store.channels.set_wanted(NVR, channel, True, at=LATER, quota=7) for channel in channels),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 7
    assert await store.streams.count(PROJECT) == (20, 7)


async def test_a_suffix_renames_the_stream(store: Store) -> None:
    await take(store, entry(FIRST), entry(SECOND))
    channel = await store.channels.update(NVR, FIRST, ChannelUpdate(suffix="", tcp_priority=True), at=LATER)
    assert (channel.stream_name, channel.tcp_priority) == (f"channel_{NVR}_{FIRST}", True)
    assert await store.streams.get(Scope(PROJECT), f"channel_{NVR}_{FIRST}_xc") is None
    stream = await store.streams.get(Scope(PROJECT), channel.stream_name)
    assert stream is not None
    assert stream.tcp_priority


async def test_a_refused_rename_changes_nothing(store: Store) -> None:
    await take(store, entry(FIRST))

    def refuse(status: InvitationStatus) -> None:
        raise ConflictError(status.value)

    with pytest.raises(ConflictError, match="ONLINE"):
        change = ChannelUpdate(suffix="new", tcp_priority=True)
        await store.channels.update(NVR, FIRST, change, at=LATER, may_rename=refuse)
    channel = await store.channels.get(NVR, FIRST)
    assert channel is not None
    assert (channel.suffix, channel.tcp_priority) == ("xc", False)


async def test_support_of_tcp_and_coding_are_kept(store: Store) -> None:
    (added,) = (await take(store, entry(FIRST))).added
    await store.channels.set_tcp_support(NVR, FIRST, True)
    await store.streams.set_encode_types(
        [("default", added.stream_name, "H265"), ("default", "unknown", "H264")], LATER
    )
    channel = await store.channels.get(NVR, FIRST)
    stream = await store.streams.get(Scope(PROJECT), added.stream_name)
    assert channel is not None
    assert stream is not None
    assert (channel.tcp_support, stream.encode_type) == (True, "H265")


async def test_channels_of_a_project_page_by_page(store: Store) -> None:
    channels = [ChannelId(f"3402000000131{number:07d}") for number in range(1, 8)]
    await take(store, *map(entry, channels))
    page = await store.channels.page(Scope(PROJECT), offset=5, limit=5)
    assert (page.total, [(channel.channel_id, state) for channel, state in page.entries]) == (
        7,
        [(channels[5], DeviceState.ONLINE), (channels[6], DeviceState.ONLINE)],
    )
    assert (await store.channels.page(Scope(PROJECT), offset=0, limit=5, device_id=DeviceId("gone"))).total == 0


async def test_a_deleted_device_leaves_only_its_history(store: Store) -> None:
    await take(store, entry(FIRST), entry("34020000002160000001", video=False))
    await store.devices.set_state(event(None, "OFFLINE", StateCause.UNREGISTER))
    assert await store.devices.delete(NVR, LATER)
    assert await store.streams.count(PROJECT) == (0, 0)
    assert await store.channels.nodes(NVR) == []
    assert [channel async for channel in store.channels.load()] == []
    assert len(await store.events.history(NVR)) == 5


async def test_a_channel_is_deleted_with_its_stream_unless_its_device_is_online(store: Store) -> None:
    await store.channels.upsert_catalogue(NVR, [entry(FIRST), entry(SECOND)], complete=True, at=NOW)
    gone = await store.channels.get(NVR, FIRST)
    assert gone is not None
    assert not await store.channels.delete(NVR, FIRST, LATER)
    await store.devices.set_state(event(None, DeviceState.OFFLINE.value, StateCause.KEEPALIVE_LOST))
    assert await store.channels.delete(NVR, FIRST, LATER)
    assert await store.channels.get(NVR, FIRST) is None
    assert await store.streams.get(Scope(PROJECT), gone.stream_name) is None
    assert await store.channels.get(NVR, SECOND) is not None
    with pytest.raises(NotFoundError):
        await store.channels.delete(NVR, FIRST, LATER)
    with pytest.raises(NotFoundError):
        await store.channels.delete(DeviceId("unknown"), FIRST, LATER)
