"""Packet sums by channel and day in the database."""

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.statistics.model import ChannelDay, Sums
from gateway.store.base import ROWS_AT_ONCE, Database
from gateway.store.packet_tables import packet_days

KEYS: Final = ("day", "device_id", "channel_id")


class PacketStore:
    """Whoever counts holds the whole sum of a day: it is written over, never added to, so writing twice is no harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, sums: Mapping[ChannelDay, Sums]) -> None:
        """Keeps the sums as they are now, in several transactions if they are many."""
        values = [{**dict(zip(KEYS, key, strict=True)), **one._asdict()} for key, one in sums.items()]

        for start in range(0, len(values), ROWS_AT_ONCE):
            part = values[start : start + ROWS_AT_ONCE]

            async def write(connection: AsyncConnection, part: list[dict[str, Any]] = part) -> None:
                await connection.execute(_upsert(connection.dialect.name), part)

            await self._database.writer.run(write)

    async def load(self, day: date) -> AsyncIterator[tuple[ChannelDay, Sums]]:
        """All of a day, in order of device and channel."""
        query = sa.select(packet_days).where(packet_days.c.day == day)
        order = (packet_days.c.device_id, packet_days.c.channel_id)
        part = query
        while True:
            rows = await self._database.all(part.order_by(*order).limit(ROWS_AT_ONCE))
            for row in rows:
                yield ChannelDay(row.day, row.device_id, row.channel_id), Sums(row.expected, row.received)
            if len(rows) < ROWS_AT_ONCE:
                return
            last = (sa.literal(rows[-1].device_id), sa.literal(rows[-1].channel_id))
            part = query.where(sa.tuple_(*order) > sa.tuple_(*last))

    async def prune(self, before: date) -> int:
        """Deletes some sums of earlier days; gives how many."""

        async def write(connection: AsyncConnection) -> int:
            old = sa.select(packet_days.c.day, packet_days.c.device_id, packet_days.c.channel_id)
            rows = (await connection.execute(old.where(packet_days.c.day < before).limit(ROWS_AT_ONCE))).all()
            if rows:
                await connection.execute(
                    sa.delete(packet_days).where(
                        *(packet_days.c[name] == sa.bindparam(f"old_{name}") for name in KEYS)
                    ),
                    [{f"old_{name}": value for name, value in zip(KEYS, row, strict=True)} for row in rows],
                )
            return len(rows)

        return await self._database.writer.run(write)


def _upsert(dialect: str) -> sa.Insert:
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(packet_days)
    upsert: sa.Insert = insert.on_conflict_do_update(
        index_elements=list(KEYS), set_={name: insert.excluded[name] for name in ("expected", "received")}
    )
    return upsert
