"""A device server on loopback over an SQLite store, with an NVR and a camera provisioned."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.accounts.model import Project, User
from gateway.clock import utc_now
from gateway.credentials.model import CredentialType
from gateway.devices.model import DeviceId, DeviceType
from gateway.devices.presence import Patience
from gateway.gb28181.catalogue import Waits
from gateway.gb28181.notices import Notice
from gateway.gb28181.registrar import RegistrarPolicy
from gateway.gb28181.server import DevicePolicy, DeviceServer
from gateway.store import NewDevices, Store
from sip.endpoint import Endpoint
from sip.flow import Address
from sip.transport import Listen
from tests.gateway.gb28181.scripted_device import DOMAIN, SERVER, ScriptedDevice
from tests.gateway.store.samples import NOW, PROJECT, credential

NVR = DeviceId("34020000001180000007")
CAMERA = DeviceId("34020000001320000001")
ANONYMOUS = DeviceId("34020000001320000002")

POLICY = DevicePolicy(
    registrar=RegistrarPolicy(realm=DOMAIN, server_id=SERVER, expires_min=1),
    patience=Patience(interval=60, count=3, grace=5),
    catalogue=Waits(first=0.3, gap=0.2, tries=2),
    request_wait=1.0,
    query_wait=0.3,
    introduction_delay=0.0,
)


@dataclass
class Running:
    """A device server and what it told."""

    server: DeviceServer
    endpoint: Endpoint
    notices: list[Notice] = field(default_factory=list)

    def device(self, device_id: str = NVR, **options: object) -> ScriptedDevice:
        """A device that knows its password."""
        username = {NVR: "hall", CAMERA: "hall"}.get(DeviceId(device_id), device_id)
        address = self.address(str(options.get("transport", "UDP")))
        return ScriptedDevice(device_id, address, **{"username": username, **options})  # type: ignore[arg-type]

    def address(self, transport: str) -> Address:
        """Where the server listens."""
        return dict(self.endpoint.addresses)[transport]


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
async def provisioned(database: Store) -> Store:
    """A store with a project, two credentials and three devices."""
    project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
    user = User(user_id="1" * 32, name="admin", project_id=PROJECT, created_at=NOW)
    assert await database.accounts.first_start(project, user, "hash")
    for name, type_ in (("hall", CredentialType.NORMAL), ("any", CredentialType.ANONYMOUS)):
        await database.credentials.add(credential(name, type_), quota=10)
    for device_id, device_type, name in (
        (NVR, DeviceType.NVR, "hall"),
        (CAMERA, DeviceType.IPC, "hall"),
        (ANONYMOUS, DeviceType.IPC, "any"),
    ):
        new = NewDevices(project_id=PROJECT, type=device_type, credential=name, suffix="", description="", at=NOW)
        await database.devices.add(new, [device_id], quota=10)
    return database


@pytest.fixture
def start(provisioned: Store) -> Start:
    """Starts a device server; several times in a row to restart it."""

    @asynccontextmanager
    async def run(policy: DevicePolicy = POLICY, udp: int = 0, tcp: int = 0) -> AsyncIterator[Running]:
        endpoint = Endpoint([Listen("UDP", "127.0.0.1", udp), Listen("TCP", "127.0.0.1", tcp)])
        server = DeviceServer(
            store=provisioned,
            endpoint=endpoint,
            policy=policy,
            clock=utc_now,
        )
        notices: list[Notice] = []

        def listen(notice: Notice) -> list[object]:
            notices.append(notice)
            return []

        server.notices.listen(listen)  # type: ignore[arg-type]
        async with server.open():
            yield Running(server, endpoint, notices)
        assert not server.failed.is_set()

    return run


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    """A running device server."""
    async with start() as running:
        yield running
