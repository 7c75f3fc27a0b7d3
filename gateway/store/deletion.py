"""Taking away a channel: inside any transaction."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import ChannelId, DeviceId, DeviceState, StateCause, StateEvent
from gateway.errors import NotFoundError
from gateway.store.base import one
from gateway.store.events import append_events
from gateway.store.tables import calls, channels, devices, streams


async def delete_channel(connection: AsyncConnection, device_id: DeviceId, channel_id: ChannelId, at: datetime) -> bool:
    """Takes away a channel, its stream and what hangs on both, unless the device is ONLINE: then False.

    History is kept, with an event of the end. NotFoundError.
    """
    device = await one(connection, sa.select(devices).where(devices.c.device_id == device_id).with_for_update())
    mine = (channels.c.device_id == device_id, channels.c.channel_id == channel_id)
    row = await one(connection, sa.select(channels).where(*mine))
    if device is None or row is None:
        raise NotFoundError("channel", channel_id)
    if device.state == DeviceState.ONLINE.value:
        return False
    await connection.execute(sa.delete(channels).where(*mine))
    await connection.execute(sa.delete(streams).where(streams.c.stream_id == row.stream_id))
    await connection.execute(sa.delete(calls).where(calls.c.device_id == device_id, calls.c.channel_id == channel_id))
    event = StateEvent(
        at=at,
        project_id=row.project_id,
        device_id=device_id,
        channel_id=channel_id,
        before=row.status,
        after="",
        cause=StateCause.DELETED,
        detail="",
    )
    await append_events(connection, [event])
    return True
