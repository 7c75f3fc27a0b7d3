"""What the registrar asks at every REGISTER, kept in memory.

A storm of first registrations must not become a storm of queries: look-ups that wait while one runs are asked together.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa

from gateway.credentials.model import CredentialType
from gateway.devices.model import DeviceId, DeviceState, DeviceType, Provision
from gateway.errors import UnavailableError
from gateway.store.base import Database
from gateway.store.secrets import SecretError
from gateway.store.tables import credentials, devices

CAPACITY: Final = 200_000
"""Provisions kept; the longest unused is forgotten first."""
ASKED_AT_ONCE: Final = 500
WAITING_LIMIT: Final = 20_000
"""Devices whose look-up waits; beyond it a look-up fails at once with UnavailableError."""


class Provisions:
    """A bounded cache over devices and credentials; unknown devices are not remembered."""

    def __init__(self, database: Database, capacity: int = CAPACITY) -> None:
        self._database = database
        self._capacity = capacity
        self._known: OrderedDict[DeviceId, tuple[str, Provision]] = OrderedDict()
        self._waiting: dict[DeviceId, asyncio.Future[Provision | None]] = {}
        self._ready = asyncio.Event()
        self._epoch = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve(), name="store provisions")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for future in self._waiting.values():
            future.cancel()

    async def get(self, device_id: DeviceId) -> Provision | None:
        """None for an unknown device."""
        known = self._known.get(device_id)
        if known is not None:
            self._known.move_to_end(device_id)
            return known[1]
        future = self._waiting.get(device_id)
        if future is None:
            if len(self._waiting) >= WAITING_LIMIT:
                raise UnavailableError("too many devices ask at once")
            future = self._waiting[device_id] = asyncio.get_running_loop().create_future()
            self._ready.set()
        return await asyncio.shield(future)

    def forget_device(self, device_id: DeviceId) -> None:
        """It was deleted."""
        self._epoch += 1
        self._known.pop(device_id, None)

    def forget_credential(self, username: str) -> None:
        """It was changed or deleted."""
        self._epoch += 1
        for device_id in [device_id for device_id, (name, _) in self._known.items() if name == username]:
            del self._known[device_id]

    async def _serve(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                part = list(self._waiting.items())[:ASKED_AT_ONCE]
                try:
                    found = await self._ask([device_id for device_id, _ in part])
                except Exception as error:
                    _fail(part, error)
                else:
                    for device_id, future in part:
                        _settle(future, found.get(device_id))
                for device_id, _ in part:
                    del self._waiting[device_id]

    async def _ask(self, device_ids: Sequence[DeviceId]) -> dict[DeviceId, Provision | SecretError]:
        """What is known of each; a password that cannot be read is the misfortune of its own devices alone."""
        epoch = self._epoch
        query = (
            sa.select(
                devices.c.device_id,
                devices.c.project_id,
                devices.c.type,
                devices.c.credential,
                devices.c.state,
                devices.c.user_agent,
                devices.c.gb_version,
                credentials.c.type.label("credential_type"),
                credentials.c.secret,
            )
            .join(credentials, credentials.c.username == devices.c.credential)
            .where(devices.c.device_id.in_(device_ids))
        )
        found: dict[DeviceId, Provision | SecretError] = {}
        for row in await self._database.all(query):
            try:
                provision = self._provision(row)
            except SecretError as error:
                found[DeviceId(row.device_id)] = error
                continue
            found[provision.device_id] = provision
            if epoch == self._epoch:
                self._remember(row.credential, provision)
        return found

    def _remember(self, credential: str, provision: Provision) -> None:
        self._known[provision.device_id] = (credential, provision)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def _provision(self, row: sa.Row[Any]) -> Provision:
        normal = row.credential_type == CredentialType.NORMAL.value
        return Provision(
            device_id=DeviceId(row.device_id),
            project_id=row.project_id,
            type=DeviceType(row.type),
            username=row.credential if normal else row.device_id,
            password=self._database.secrets.open(row.secret, row.credential),
            state=DeviceState(row.state),
            user_agent=row.user_agent,
            gb_version=row.gb_version,
        )


def _settle(future: asyncio.Future[Provision | None], found: Provision | SecretError | None) -> None:
    if future.done():
        return
    if isinstance(found, SecretError):
        future.set_exception(found)
        future.exception()  # nobody may be waiting any more
    else:
        future.set_result(found)


def _fail(part: Sequence[tuple[DeviceId, asyncio.Future[Provision | None]]], error: Exception) -> None:
    for _, future in part:
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more
