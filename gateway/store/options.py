"""What was chosen for streams, in the database."""

from collections.abc import AsyncIterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFoundError
from gateway.store.base import Database
from gateway.store.option_tables import stream_options
from gateway.store.tables import projects, streams
from gateway.streams.options import NOTHING, OwnOptions

_query = (
    sa.select(stream_options.c.stream_id, stream_options.c.chosen, streams.c.name, projects.c.name.label("app"))
    .join(streams, streams.c.stream_id == stream_options.c.stream_id)
    .join(projects, projects.c.project_id == streams.c.project_id)
)


class OptionStore:
    """Options by stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, stream_id: str) -> OwnOptions | None:
        """None if nothing was chosen."""
        row = await self._database.first(_query.where(stream_options.c.stream_id == stream_id))
        return None if row is None else OwnOptions.read(row.chosen)

    async def find(self, app: str, name: str) -> OwnOptions | None:
        """Those of the stream of a play address; None if nothing was chosen."""
        row = await self._database.first(_query.where(projects.c.name == app, streams.c.name == name))
        return None if row is None else OwnOptions.read(row.chosen)

    async def every(self) -> AsyncIterator[tuple[str, str, OwnOptions]]:
        """App, name and options of all streams that have any; read in parts."""
        async for row in self._database.stream(_query, stream_options.c.stream_id):
            yield row.app, row.name, OwnOptions.read(row.chosen)

    async def put(self, stream_id: str, own: OwnOptions, at: datetime) -> None:
        """Puts these in the place of what was chosen. NotFoundError if the stream is gone."""
        there = sa.select(streams.c.stream_id).where(streams.c.stream_id == stream_id).with_for_update()

        async def write(connection: AsyncConnection) -> None:
            if await connection.scalar(there) is None:
                raise NotFoundError("stream", stream_id)
            await connection.execute(sa.delete(stream_options).where(stream_options.c.stream_id == stream_id))
            if own != NOTHING:
                values = {"stream_id": stream_id, "chosen": own.kept(), "updated_at": at}
                await connection.execute(sa.insert(stream_options).values(values))

        await self._database.writer.run(write)
