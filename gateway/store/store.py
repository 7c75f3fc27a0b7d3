"""The store: one database, and a store of its own for each aggregate."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import UnavailableError
from gateway.store.access_keys import AccessKeyStore
from gateway.store.accounts import AccountStore
from gateway.store.audit import AuditStore
from gateway.store.base import Database
from gateway.store.calls import CallStore
from gateway.store.channels import ChannelStore
from gateway.store.credentials import CredentialStore
from gateway.store.devices import DeviceStore
from gateway.store.engine import open_engines
from gateway.store.events import EventStore
from gateway.store.groups import GroupStore
from gateway.store.inputs import InputStore
from gateway.store.members import MemberStore
from gateway.store.migrate import upgrade
from gateway.store.options import OptionStore
from gateway.store.packets import PacketStore
from gateway.store.provisions import Provisions
from gateway.store.push_keys import PushKeyStore
from gateway.store.pushes import PushStore
from gateway.store.record_plans import RecordPlanStore
from gateway.store.retention import RetentionStore
from gateway.store.secrets import SecretBox, SecretError
from gateway.store.slices import SliceStore
from gateway.store.strategies import StrategyStore
from gateway.store.stream_events import StreamEventStore
from gateway.store.streams import StreamStore
from gateway.store.tables import marks
from gateway.store.writer import FAILURES, Changed, Writer, WriterCounters

KEY_MARK: Final = "key_fingerprint"


class Store:
    """The only one that speaks SQL. Methods take and return domain values; a write returns when it is durable."""

    def __init__(self, database: Database, provisions: Provisions) -> None:
        self.accounts = AccountStore(database)
        self.audit = AuditStore(database)
        self.members = MemberStore(database)
        self.groups = GroupStore(database)
        self.access_keys = AccessKeyStore(database)
        self.credentials = CredentialStore(database, provisions.forget_credential)
        self.push_keys = PushKeyStore(database)
        self.pushes = PushStore(database)
        self.devices = DeviceStore(database, provisions)
        self.channels = ChannelStore(database)
        self.streams = StreamStore(database)
        self.stream_events = StreamEventStore(database)
        self.inputs = InputStore(database)
        self.options = OptionStore(database)
        self.events = EventStore(database)
        self.calls = CallStore(database)
        self.retention = RetentionStore(database)
        self.record_plans = RecordPlanStore(database)
        self.strategies = StrategyStore(database)
        self.slices = SliceStore(database)
        self.packets = PacketStore(database)
        self.secrets = database.secrets
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, secrets: SecretBox) -> AsyncIterator[Self]:
        """Opens the database at `url` (sqlite:///file or postgresql://…), makes or upgrades its tables.

        Left, it writes what waits and closes. InvalidError for a bad URL, UnavailableError if the database cannot be
        reached, SecretError if its secrets were sealed with another key.
        """
        writing, reading = open_engines(url)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(writing.dispose)
            stack.push_async_callback(reading.dispose)
            try:
                async with writing.begin() as connection:
                    await connection.run_sync(upgrade)
                    await _check_key(connection, secrets)
            except FAILURES as error:
                raise UnavailableError(f"cannot open the database: {error}") from error
            writer = await stack.enter_async_context(Writer(writing))
            database = Database(writer, reading, secrets)
            provisions = await stack.enter_async_context(Provisions(database))
            yield cls(database, provisions)

    @property
    def writer(self) -> WriterCounters:
        """What the writer has done, for the metrics."""
        return self._database.writer.counters

    @property
    def waiting_writes(self) -> int:
        """Calls that wait for the writer."""
        return self._database.writer.waiting

    @property
    def changed(self) -> Changed:
        """Tells which devices' rows were written."""
        return self._database.writer.changed

    async def ping(self) -> None:
        """UnavailableError unless the database answers."""
        await self._database.scalar(sa.select(sa.literal(1)))


async def _check_key(connection: AsyncConnection, secrets: SecretBox) -> None:
    fingerprint = secrets.derive("fingerprint", 16).hex()
    known = await connection.scalar(sa.select(marks.c.value).where(marks.c.name == KEY_MARK))
    if known is None:
        await connection.execute(sa.insert(marks).values(name=KEY_MARK, value=fingerprint))
    elif known != fingerprint:
        raise SecretError("the key file does not belong to this database: put the right one in its place")
