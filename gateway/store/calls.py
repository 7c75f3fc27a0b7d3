"""Confirmed media dialogs, kept so that each can be ended with a BYE after a crash."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.devices.model import ChannelId, DeviceId, MediaTransport, SavedCall
from gateway.store.base import Database
from gateway.store.tables import calls


class CallStore:
    """One row per dialog, from its confirmation to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, call: SavedCall) -> None:
        """Keeps the dialog. The ACK does not wait for it: a call confirmed in the last milliseconds before a crash is
        known to its device alone, which ends it when its RTP is refused."""
        await self._database.writer.batch(_save, [call])

    async def delete(self, call_id: str) -> None:
        """The dialog has ended; unknown ids are ignored."""
        await self._database.writer.batch(_delete, [call_id])

    async def load(self) -> AsyncIterator[SavedCall]:
        """Every call that was not ended, to be taken up again or ended at start."""
        async for row in self._database.stream(sa.select(calls), calls.c.call_id):
            yield _call(row)

    async def of_channel(self, device_id: DeviceId, channel_id: ChannelId) -> Sequence[SavedCall]:
        """The channel's calls that were not ended, oldest first."""
        query = sa.select(calls).where(calls.c.device_id == device_id, calls.c.channel_id == channel_id)
        return [_call(row) for row in await self._database.all(query.order_by(calls.c.started_at, calls.c.call_id))]


async def _save(connection: AsyncConnection, items: Sequence[SavedCall]) -> None:
    await _delete(connection, [call.call_id for call in items])
    await connection.execute(sa.insert(calls), [_values(call) for call in items])


async def _delete(connection: AsyncConnection, items: Sequence[str]) -> None:
    await connection.execute(sa.delete(calls).where(calls.c.call_id == sa.bindparam("id")), [{"id": i} for i in items])


def _values(call: SavedCall) -> dict[str, Any]:
    values = {name: getattr(call, name) for name in calls.c.keys()}  # noqa: SIM118  (a column collection, not a dict)
    return values | {"dialog": dict(call.dialog), "media_transport": call.media_transport.value}


def _call(row: sa.Row[Any]) -> SavedCall:
    values = {name: getattr(row, name) for name in calls.c.keys()}  # noqa: SIM118
    values["media_transport"] = MediaTransport(row.media_transport)
    return SavedCall(**values)
