"""Channels, the catalogue's tree and channel states in the database."""

import secrets
import string
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import (
    CatalogueChange,
    CatalogueEntry,
    CatalogueStatus,
    Channel,
    ChannelId,
    DeviceId,
    DeviceState,
    InvitationStatus,
    StateCause,
    StateEvent,
)
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.paging import Listing
from gateway.scope import Scope
from gateway.store.base import Database, clip, one
from gateway.store.credentials import lock_project
from gateway.store.deletion import delete_channel
from gateway.store.events import append_events
from gateway.store.scoping import within
from gateway.store.strategies import strategy_columns, strategy_value
from gateway.store.strategy_tables import strategies
from gateway.store.tables import channels, devices, nodes, projects, streams
from gateway.store.writer import note_changed
from gateway.streams.model import AccessType, ShareType, StreamState

STREAM_ID_LETTERS: Final = string.ascii_letters + string.digits
ASKED_AT_ONCE: Final = 500
"""Devices in one question: databases bound the number of parameters."""
KEYS_AT_ONCE: Final = 50
"""Channels in one question."""

_joined: Final = (
    channels.join(streams, streams.c.stream_id == channels.c.stream_id)
    .join(projects, projects.c.project_id == channels.c.project_id)
    .outerjoin(
        strategies,
        sa.and_(strategies.c.device_id == channels.c.device_id, strategies.c.channel_id == channels.c.channel_id),
    )
)
_query: Final = sa.select(
    channels,
    streams.c.name.label("stream_name"),
    streams.c.share_type,
    streams.c.generation,
    projects.c.name.label("app"),
    *strategy_columns(),
).select_from(_joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelUpdate:
    """What is to be changed of a channel; None leaves it."""

    tcp_priority: bool | None = None
    suffix: str | None = None


def stream_name(device_id: str, channel_id: str, suffix: str) -> str:
    """The name of a channel's automatic stream."""
    name = f"channel_{device_id}_{channel_id}"
    return f"{name}_{suffix}" if suffix else name


def new_stream_id() -> str:
    """stream- and 8 random letters or digits."""
    return "stream-" + "".join(secrets.choice(STREAM_ID_LETTERS) for _ in range(8))


class ChannelStore:
    """A channel is known by its device and its own id together; the latter repeats between devices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, device_id: DeviceId, channel_id: ChannelId) -> Channel | None:
        row = await self._database.first(
            _query.where(channels.c.device_id == device_id, channels.c.channel_id == channel_id)
        )
        return None if row is None else _channel(row)

    async def of_devices(self, device_ids: Collection[DeviceId]) -> Mapping[DeviceId, Sequence[Channel]]:
        """The channels of each device, in order of their ids."""
        ids, found = list(device_ids), defaultdict[DeviceId, list[Channel]](list)
        for start in range(0, len(ids), ASKED_AT_ONCE):
            part = ids[start : start + ASKED_AT_ONCE]
            query = _query.where(channels.c.device_id.in_(part)).order_by(channels.c.device_id, channels.c.channel_id)
            for row in await self._database.all(query):
                found[DeviceId(row.device_id)].append(_channel(row))
        return found

    async def several(self, keys: Collection[tuple[DeviceId, ChannelId]]) -> Sequence[Channel]:
        """Those of the channels that exist."""
        found: list[Channel] = []
        wanted = list(keys)
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            part = wanted[start : start + KEYS_AT_ONCE]
            # Not as a list of pairs: SQLite would read the whole table for it.
            pairs = [sa.and_(channels.c.device_id == one, channels.c.channel_id == other) for one, other in part]
            found += [_channel(row) for row in await self._database.all(_query.where(sa.or_(*pairs)))]
        return found

    async def page(
        self, scope: Scope, *, offset: int, limit: int, device_id: DeviceId | None = None
    ) -> Listing[tuple[Channel, DeviceState]]:
        """Channels of a scope, or of one device of it, in order of device and id, with their device's state."""
        conditions = within(scope, channels.c.project_id, channels.c.device_id, by_device=True)
        if device_id is not None:
            conditions.append(channels.c.device_id == device_id)
        order = (channels.c.device_id, channels.c.channel_id)
        total = int(await self._database.scalar(sa.select(sa.func.count()).select_from(channels).where(*conditions)))
        keys = sa.select(channels.c.stream_id).where(*conditions).order_by(*order).limit(limit).offset(offset)
        query = (
            _query.add_columns(devices.c.state.label("device_state"))
            .join(devices, devices.c.device_id == channels.c.device_id)
            .where(channels.c.stream_id.in_(keys))
        )
        rows = await self._database.all(query.order_by(*order))
        return Listing(total, [(_channel(row), DeviceState(row.device_state)) for row in rows])

    async def load(self) -> AsyncIterator[Channel]:
        """Every channel: read at start."""
        async for row in self._database.stream(_query, channels.c.stream_id):
            yield _channel(row)

    async def nodes(self, device_id: DeviceId) -> Sequence[CatalogueEntry]:
        """The nodes of the device's tree that are no channels."""
        rows = await self._database.all(
            sa.select(nodes).where(nodes.c.device_id == device_id).order_by(nodes.c.node_id)
        )
        return [
            CatalogueEntry(node_id=row.node_id, name=row.name, video=False, reported_on=False, parent_id=row.parent_id)
            for row in rows
        ]

    async def upsert_catalogue(
        self,
        device_id: DeviceId,
        entries: Sequence[CatalogueEntry],
        *,
        complete: bool,
        at: datetime,
        status: CatalogueStatus = CatalogueStatus.QUERIED,
    ) -> CatalogueChange:
        """Takes in an answer and sets `channels_query` to `status`, all in one transaction.

        New channels get a stream of their own and the state ONLINE or OFFLINE; of known ones only what the catalogue
        tells is changed, never their state: that is the caller's, who learns which were turned on and off. With
        `complete`, channels that are missing count as turned off, but an answer without any channel turns none off.
        NotFoundError if the device was deleted.
        """

        async def write(connection: AsyncConnection) -> CatalogueChange:
            device = await one(connection, sa.select(devices).where(devices.c.device_id == device_id).with_for_update())
            if device is None:
                raise NotFoundError("device", device_id)
            await connection.execute(
                sa.update(devices).where(devices.c.device_id == device_id).values(catalogue=status.value)
            )
            return await _Catalogue(connection, device, at).take(entries, complete=complete)

        return await self._database.writer.run(write)

    async def set_status(self, events: Sequence[StateEvent]) -> None:
        """Sets each channel's state to `event.after` and keeps the event."""
        await self._database.writer.batch(set_channel_states, events)

    async def set_wanted(
        self, device_id: DeviceId, channel_id: ChannelId, wanted: bool, *, at: datetime, quota: int | None = None
    ) -> None:
        """Keeps whether somebody wants the video, also as the state of the stream.

        QuotaError if the project has `quota` active streams already; NotFoundError.
        """

        async def write(connection: AsyncConnection) -> None:
            row = await one(connection, _wanted(device_id, channel_id))
            if row is None:
                raise NotFoundError("channel", channel_id)
            state = StreamState.ACTIVE if wanted else StreamState.STOPPED
            if wanted and not row.wanted and quota is not None:
                await lock_project(connection, row.project_id)
                if int(await connection.scalar(active_streams(row.project_id)) or 0) >= quota:
                    raise QuotaError("active_stream", quota)
            await connection.execute(_where(channels, device_id, channel_id).values(wanted=wanted, updated_at=at))
            await connection.execute(
                sa.update(streams).where(streams.c.stream_id == row.stream_id).values(state=state.value, updated_at=at)
            )

        await self._database.writer.run(write)

    async def update(
        self,
        device_id: DeviceId,
        channel_id: ChannelId,
        change: ChannelUpdate,
        *,
        at: datetime,
        may_rename: Callable[[InvitationStatus], None] = lambda _status: None,
    ) -> Channel:
        """Changes the settings of a channel and returns it as it is then.

        Another suffix renames its stream; `may_rename` gets the state it is in and may raise. ConflictError if a
        stream has that name, NotFoundError.
        """

        async def write(connection: AsyncConnection) -> Channel:
            row = await _for_update(connection, device_id, channel_id)
            values: dict[str, Any] = {"updated_at": at}
            if change.tcp_priority is not None:
                values["tcp_priority"] = change.tcp_priority
            if change.suffix is not None and change.suffix != row.suffix:
                may_rename(InvitationStatus(row.status))
                values["suffix"] = change.suffix
                await connection.execute(
                    sa.update(streams)
                    .where(streams.c.stream_id == row.stream_id)
                    .values(name=stream_name(device_id, channel_id, change.suffix), updated_at=at)
                )
            await connection.execute(_where(channels, device_id, channel_id).values(values))
            return _channel(await _for_update(connection, device_id, channel_id))

        try:
            return await self._database.writer.run(write)
        except sa.exc.IntegrityError as error:
            raise ConflictError("a stream of this name exists already") from error

    async def delete(self, device_id: DeviceId, channel_id: ChannelId, at: datetime) -> bool:
        """Deletes the channel with its stream and strategy, unless its device is ONLINE: then False. NotFoundError."""
        return await self._database.writer.run(lambda connection: delete_channel(connection, device_id, channel_id, at))

    async def set_tcp_support(self, device_id: DeviceId, channel_id: ChannelId, supported: bool) -> None:
        """Keeps whether media over TCP has been seen to work."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(_where(channels, device_id, channel_id).values(tcp_support=supported))

        await self._database.writer.run(write)


async def set_channel_states(connection: AsyncConnection, events: Sequence[StateEvent]) -> None:
    """Inside any transaction; every event names its channel."""
    if not events:
        return
    await connection.execute(
        sa.update(channels)
        .where(channels.c.device_id == sa.bindparam("device"), channels.c.channel_id == sa.bindparam("channel"))
        .values(status=sa.bindparam("after"), updated_at=sa.bindparam("at")),
        [
            {"device": event.device_id, "channel": event.channel_id, "after": event.after, "at": event.at}
            for event in events
        ],
    )
    await _note_first_media(connection, [event for event in events if event.cause is StateCause.MEDIA])
    await append_events(connection, events)


async def _note_first_media(connection: AsyncConnection, events: Sequence[StateEvent]) -> None:
    """Keeps when a device first sent video."""
    if not events:
        return
    await connection.execute(
        sa.update(devices)
        .where(devices.c.device_id == sa.bindparam("id"), devices.c.first_media_at.is_(None))
        .values(first_media_at=sa.bindparam("at")),
        [{"id": event.device_id, "at": event.at} for event in events],
    )
    note_changed(connection, [event.device_id for event in events])


def active_streams(project_id: str) -> sa.Select[int]:
    """Counts the project's active streams."""
    return (
        sa.select(sa.func.count())
        .select_from(streams)
        .where(streams.c.project_id == project_id, streams.c.state == StreamState.ACTIVE.value)
    )


class _Catalogue:
    """One answer being taken in."""

    def __init__(self, connection: AsyncConnection, device: sa.Row[Any], at: datetime) -> None:
        self._connection = connection
        self._device = device
        self._at = at

    async def take(self, entries: Sequence[CatalogueEntry], *, complete: bool) -> CatalogueChange:
        videos = {entry.node_id: entry for entry in entries if entry.video}
        before = await self._channels()
        await self._write_nodes([entry for entry in entries if not entry.video])
        await self._add([entry for node_id, entry in videos.items() if node_id not in before])
        await self._update([entry for node_id, entry in videos.items() if node_id in before])
        if complete and videos:
            await self._turn_off([node_id for node_id in before if node_id not in videos])
        after = await self._channels()
        return CatalogueChange(
            added=tuple(channel for node_id, channel in after.items() if node_id not in before),
            turned_on=tuple(
                channel for i, channel in after.items() if i in before and channel.reported_on > before[i].reported_on
            ),
            turned_off=tuple(
                channel for i, channel in after.items() if i in before and channel.reported_on < before[i].reported_on
            ),
        )

    async def _channels(self) -> dict[ChannelId, Channel]:
        query = _query.where(channels.c.device_id == self._device.device_id).order_by(channels.c.channel_id)
        found = map(_channel, (await self._connection.execute(query)).all())
        return {channel.channel_id: channel for channel in found}

    async def _write_nodes(self, entries: Sequence[CatalogueEntry]) -> None:
        latest = {entry.node_id: entry for entry in entries}
        if not latest:
            return
        mine = nodes.c.device_id == self._device.device_id
        await self._connection.execute(
            sa.delete(nodes).where(mine, nodes.c.node_id == sa.bindparam("id")), [{"id": node_id} for node_id in latest]
        )
        await self._connection.execute(
            sa.insert(nodes),
            [
                {
                    "device_id": self._device.device_id,
                    "node_id": node_id,
                    "name": clip(entry.name),
                    "parent_id": clip(entry.parent_id),
                }
                for node_id, entry in latest.items()
            ],
        )

    async def _add(self, entries: Sequence[CatalogueEntry]) -> None:
        if not entries:
            return
        rows = [self._new_channel(entry) for entry in entries]
        await self._connection.execute(sa.insert(streams), [self._new_stream(row) for row in rows])
        await self._connection.execute(sa.insert(channels), rows)
        await append_events(self._connection, [self._event(row) for row in rows])

    def _new_channel(self, entry: CatalogueEntry) -> dict[str, Any]:
        online = entry.reported_on and self._device.state == DeviceState.ONLINE.value
        return {
            "device_id": self._device.device_id,
            "channel_id": entry.node_id,
            "project_id": self._device.project_id,
            "stream_id": new_stream_id(),
            "suffix": self._device.suffix,
            "status": (InvitationStatus.ONLINE if online else InvitationStatus.OFFLINE).value,
            "tcp_priority": False,
            "tcp_support": False,
            "wanted": False,
            "created_at": self._at,
            "updated_at": self._at,
            **_told(entry),
        }

    def _new_stream(self, channel: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "stream_id": channel["stream_id"],
            "project_id": self._device.project_id,
            "name": stream_name(self._device.device_id, channel["channel_id"], channel["suffix"]),
            "access_type": AccessType.GB28181.value,
            "share_type": ShareType.PRIVATE.value,
            "state": StreamState.STOPPED.value,
            "description": "",
            "encode_type": "",
            "tags": [],
            "generation": 0,
            "device_id": self._device.device_id,
            "channel_id": channel["channel_id"],
            "created_at": self._at,
            "updated_at": self._at,
        }

    def _event(self, channel: Mapping[str, Any]) -> StateEvent:
        return StateEvent(
            at=self._at,
            project_id=self._device.project_id,
            device_id=DeviceId(self._device.device_id),
            channel_id=ChannelId(channel["channel_id"]),
            before=InvitationStatus.UNREGISTERED.value,
            after=channel["status"],
            cause=StateCause.CATALOGUE,
            detail="",
        )

    async def _update(self, entries: Sequence[CatalogueEntry]) -> None:
        if not entries:
            return
        told = [_told(entry) for entry in entries]
        await self._connection.execute(
            sa.update(channels)
            .where(channels.c.device_id == self._device.device_id, channels.c.channel_id == sa.bindparam("id"))
            .values({name: sa.bindparam(f"new_{name}", type_=channels.c[name].type) for name in told[0]}),
            [
                {"id": entry.node_id} | {f"new_{name}": value for name, value in values.items()}
                for entry, values in zip(entries, told, strict=True)
            ],
        )

    async def _turn_off(self, channel_ids: Sequence[str]) -> None:
        if channel_ids:
            await self._connection.execute(
                sa.update(channels)
                .where(channels.c.device_id == self._device.device_id, channels.c.channel_id == sa.bindparam("id"))
                .values(reported_on=False),
                [{"id": channel_id} for channel_id in channel_ids],
            )


def _told(entry: CatalogueEntry) -> dict[str, Any]:
    return {
        "name": clip(entry.name) or "",
        "reported_on": entry.reported_on,
        "parent_id": clip(entry.parent_id),
        "manufacturer": clip(entry.manufacturer),
        "model": clip(entry.model),
        "ptz_type": entry.ptz_type,
        "longitude": entry.longitude,
        "latitude": entry.latitude,
    }


def _where(table: sa.Table, device_id: str, channel_id: str) -> sa.Update:
    return sa.update(table).where(table.c.device_id == device_id, table.c.channel_id == channel_id)


def _wanted(device_id: str, channel_id: str) -> sa.Select[Any]:
    """What decides whether it may be wanted; a channel's whole line would cost several times as much."""
    return (
        sa.select(channels.c.project_id, channels.c.stream_id, channels.c.wanted)
        .where(channels.c.device_id == device_id, channels.c.channel_id == channel_id)
        .with_for_update()
    )


async def _for_update(connection: AsyncConnection, device_id: str, channel_id: str) -> sa.Row[Any]:
    query = _query.where(channels.c.device_id == device_id, channels.c.channel_id == channel_id)
    row = await one(connection, query.with_for_update(of=channels))
    if row is None:
        raise NotFoundError("channel", channel_id)
    return row


def _channel(row: sa.Row[Any]) -> Channel:
    return Channel(
        device_id=DeviceId(row.device_id),
        channel_id=ChannelId(row.channel_id),
        project_id=row.project_id,
        stream_id=row.stream_id,
        app=row.app,
        stream_name=row.stream_name,
        private=row.share_type == ShareType.PRIVATE.value,
        generation=row.generation,
        name=row.name,
        suffix=row.suffix,
        status=InvitationStatus(row.status),
        tcp_priority=row.tcp_priority,
        tcp_support=row.tcp_support,
        wanted=row.wanted,
        reported_on=row.reported_on,
        parent_id=row.parent_id,
        manufacturer=row.manufacturer,
        model=row.model,
        ptz_type=row.ptz_type,
        longitude=row.longitude,
        latitude=row.latitude,
        created_at=row.created_at,
        updated_at=row.updated_at,
        strategy=None if row.strategy_id is None else strategy_value(row, "strategy_"),
    )
