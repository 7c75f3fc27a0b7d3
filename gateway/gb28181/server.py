"""Everything that devices register to and report to, wired: what the composition root makes one of."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from gateway.devices.presence import Patience
from gateway.gb28181.catalogue import Waits
from gateway.gb28181.catalogue_service import CatalogueService
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.introductions import Introductions
from gateway.gb28181.liveness import Liveness
from gateway.gb28181.message_service import MessageService
from gateway.gb28181.messenger import Identity, Messenger, SerialNumbers
from gateway.gb28181.notices import Notices
from gateway.gb28181.query_service import DeviceInquiry, QueryService
from gateway.gb28181.refusals import Refusals
from gateway.gb28181.registrar import Registrar, RegistrarPolicy
from gateway.gb28181.registration_service import RegistrationService
from gateway.gb28181.state_writer import StateWriter
from gateway.gb28181.subscriptions import CatalogueSubscriptions
from gateway.store import Store
from sip.digest import Authenticator
from sip.endpoint import Endpoint

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePolicy:
    """How devices are treated; times in seconds."""

    registrar: RegistrarPolicy
    patience: Patience = field(default_factory=Patience)
    catalogue: Waits = field(default_factory=Waits)
    request_wait: float = 8.0
    query_wait: float = 10.0
    query_tries: int = 2
    introduction_delay: float = 3.0
    """A device that came online is asked within this time, at a random moment."""
    subscribe_catalogue: bool = False
    """Whether to subscribe to catalogue changes; many devices refuse, and each that does not costs a task."""
    gb_version: str = "3.0"


class DeviceServer:
    """Made before its endpoint listens; `open` does the rest in order."""

    def __init__(
        self,
        *,
        store: Store,
        endpoint: Endpoint,
        policy: DevicePolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self.failed = asyncio.Event()
        """Set when one of its tasks died of an error: the gateway must not limp on unseen."""
        self.endpoint = endpoint
        secret = random.SystemRandom()
        registrar = policy.registrar
        self.directory = Directory(policy.patience)
        self.notices = Notices()
        self.refusals = Refusals(clock)
        self.states = StateWriter(store)
        self.messenger = Messenger(
            endpoint,
            Identity(registrar.server_id, registrar.realm),
            SerialNumbers(secret.randrange(1, 2**30)),
            wait=policy.request_wait,
        )
        self.queries = QueryService(self.messenger, wait=policy.query_wait, tries=policy.query_tries)
        self.catalogues = CatalogueService(
            store=store,
            directory=self.directory,
            messenger=self.messenger,
            notices=self.notices,
            waits=policy.catalogue,
            clock=clock,
            verify=self._verify,
        )
        self.inquiry = DeviceInquiry(self.queries, store, wall_seconds=lambda: clock().timestamp())
        self.introductions = Introductions(
            self.directory, self.inquiry, self.catalogues, random=secret.random, delay=policy.introduction_delay
        )
        self.liveness = Liveness(
            store=store,
            directory=self.directory,
            notices=self.notices,
            states=self.states,
            clock=clock,
            on_alive=self._came_online,
        )
        self.registrations = RegistrationService(
            store=store,
            directory=self.directory,
            registrar=Registrar(registrar, Authenticator(secret.randbytes(32), secret.randbytes)),
            liveness=self.liveness,
            notices=self.notices,
            states=self.states,
            clock=clock,
            gb_version=policy.gb_version,
            on_alive=self._came_online,
            refusals=self.refusals,
        )
        self.messages = MessageService(
            directory=self.directory,
            liveness=self.liveness,
            queries=self.queries,
            catalogues=self.catalogues,
            messenger=self.messenger,
            notices=self.notices,
        )
        self.subscriptions: CatalogueSubscriptions | None = None
        if policy.subscribe_catalogue:
            self.subscriptions = CatalogueSubscriptions(self.directory, self.messenger)
            self.notices.listen(self.subscriptions.handle_notice)
        self.registrations.attach(endpoint)
        self.messages.attach(endpoint)

    @asynccontextmanager
    async def open(self, udp_port: int = 0) -> AsyncIterator["DeviceServer"]:
        """Takes up stored registrations, then enters the endpoint itself, so that nobody is a stranger who is none.

        `udp_port`: where the endpoint will listen. Left, it closes the endpoint and writes what is unwritten; devices
        stay as they are.
        """
        await self.catalogues.start()
        await self.liveness.restore(udp_port)
        try:
            async with self.endpoint:
                tasks = [self._spawn(self.liveness.run()), self._spawn(self.introductions.run())]
                try:
                    yield self
                finally:
                    self.liveness.stop()
                    self.introductions.close()
                    await self.catalogues.close()
                    if self.subscriptions is not None:
                        await self.subscriptions.close()
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
        finally:
            await self.liveness.close()

    async def watch(self) -> None:
        """For a task of whoever must not go on without this server; RuntimeError when a task of it has died."""
        await self.failed.wait()
        raise RuntimeError("a task of the device server died")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a task of the device server died", exc_info=error)
            self.failed.set()

    def _verify(self, device: RegisteredDevice) -> None:
        self.introductions.verify(device)

    def _came_online(self, device: RegisteredDevice) -> None:
        self.introductions.came_online(device)
