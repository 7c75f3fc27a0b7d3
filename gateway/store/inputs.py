"""Inputs that back up streams, in the database; their URLs are sealed."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.base import Database
from gateway.store.input_tables import stream_inputs
from gateway.streams.inputs import BackupType, Input


class InputStore:
    """The inputs of a stream beside its own URL; they go with the stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, stream_id: str) -> list[Input]:
        """In their order, numbered from 2."""
        wanted = sa.select(stream_inputs).where(stream_inputs.c.stream_id == stream_id)
        rows = await self._database.all(wanted.order_by(stream_inputs.c.number))
        return [
            Input(
                number=row.number,
                url=self._database.unsealed(row.url, stream_id, instead=""),
                backup=BackupType(row.backup),
            )
            for row in rows
        ]

    async def put(self, stream_id: str, inputs: Sequence[Input]) -> None:
        """Puts these in the place of all that were; returns when they are durable."""
        rows = [
            {
                "stream_id": stream_id,
                "number": entry.number,
                "url": self._database.secrets.seal(entry.url, stream_id),
                "backup": entry.backup.value,
            }
            for entry in inputs
        ]

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(stream_inputs).where(stream_inputs.c.stream_id == stream_id))
            if rows:
                await connection.execute(sa.insert(stream_inputs), rows)

        await self._database.writer.run(write)
