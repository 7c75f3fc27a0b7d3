"""Every code of the table (§6.2) has a cause that can be shown: each is provoked over HTTP, with its status."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from api.errors import STATUS
from gateway.accounts.model import Role, User
from gateway.errors import GatewayError
from gateway.retention.buckets import ObjectStorage
from tests import s3
from tests.api.conftest import Client, Opener
from tests.api.world import World
from tests.gateway.media_events import Event

pytestmark = pytest.mark.timeout(120)

CREDENTIAL = "0100"
PASSWORD = "Secret-1234"
IPC, NVR, CHANNEL = "34020000001320000001", "34020000001180000001", "34020000001310000001"
CALLED = f"devices/{IPC}/channels/{CHANNEL}"
AUTOMATIC = f"streams/channel_{IPC}_{CHANNEL}"
RTMP = {"name": "pushed", "access_type": "RTMP", "encode_type": "H264"}
PULL = {"name": "pulled", "access_type": "HTTP-FLV", "encode_type": "H264", "url": "http://camera.example/live"}
KEPT = {"retention_in_hour": 24, "store_type": "local", "timezone": "GMT+8:00", "state": "ACTIVE"}
STRATEGY = {"start_time": "10:00", "end_time": "18:00", "total_length": 120}


def span(start: str, end: str) -> dict[str, str]:
    return {"start_time": f"2026-03-{start}T00:00:00Z", "end_time": f"2026-03-{end}T00:00:00Z"}


@dataclass
class Ask:
    """One request."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Stage:
    """A gateway to be opened as a scenario needs it, a bucket, and a way to it that can be broken."""

    opened: Opener
    folder: Path
    server: s3.Server
    bucket: str
    port: int
    faults: s3.Faults

    async def furnished(self, **settings: Any) -> tuple[World, Client]:
        """With a credential, a registered IPC and NVR of a channel each, and a key that a stopped stream has."""
        world, client = await self.opened(**{"local_root": self.folder / "kept", **settings})
        await client.ok("POST", "credentials/codes", {"username": CREDENTIAL, "password": PASSWORD})
        for type_, device_id in (("IPC", IPC), ("NVR", NVR)):
            await client.ok("POST", "devices", {"type": type_, "username": CREDENTIAL})
            await world.register(device_id, client.project_id)
        key = (await client.ok("POST", "credentials/aksks", {"name": "encoder"}))["access_key"]
        await client.ok("POST", "streams", {**RTMP, "access_key": key})
        return world, client

    def lose_table(self, name: str) -> None:
        """From now on the database fails whoever asks for it."""
        with sqlite3.connect(self.folder / "gateway.db") as database:
            database.execute(f"DROP TABLE {name}")

    async def refused_bucket(self, code: str, break_it: Callable[[s3.Faults], None], *, bucket: str = "") -> None:
        """The recording that is begun in a bucket that works no more."""
        storage: ObjectStorage = self.server.storage(self.port, timeout_seconds=5.0)
        _, client = await self.furnished(object_storage=storage)
        break_it(self.faults)
        body = {**KEPT, "store_type": "obs", "bucket": bucket or self.bucket, "path": ""}
        await client.refused(code, "PUT", f"{AUTOMATIC}/retention", body)


Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: Final[dict[str, Scenario]] = {}
"""By code: what provokes it, and sees its status."""


def provokes(code: str) -> Callable[[Scenario], Scenario]:
    def enter(scenario: Scenario) -> Scenario:
        assert code not in SCENARIOS
        SCENARIOS[code] = scenario
        return scenario

    return enter


ASKED: Final[Mapping[str, Ask]] = {
    "VIS.0002": Ask("GET", "/v1/nobody/devices"),
    "VIS.0005": Ask("POST", "devices", {"type": "DVR", "username": CREDENTIAL}),
    "VIS.0006": Ask("GET", f"/v1/{'0' * 32}/devices"),
    "VIS.0010": Ask("PUT", f"{AUTOMATIC}/retention", {**KEPT, "store_type": "obs", "bucket": "obs-momo", "path": ""}),
    "VIS.0101": Ask("POST", "credentials/codes", {"username": CREDENTIAL, "password": PASSWORD}),
    "VIS.0102": Ask("POST", "devices", {"type": "IPC", "username": "unknown"}),
    "VIS.0103": Ask("POST", "credentials/aksks", {"name": "encoder"}),
    "VIS.0104": Ask("PUT", "credentials/aksks/unknown", {"name": "other"}),
    "VIS.0105": Ask("POST", "credentials/codes", {"username": "Camera001", "password": "100aremaC"}),
    "VIS.0106": Ask("PUT", "credentials/codes/0100", {"password": "Wrong-123", "new_password": "Other-123"}),
    "VIS.0108": Ask("DELETE", f"credentials/codes/{CREDENTIAL}"),
    "VIS.0201": Ask("POST", "streams", RTMP),
    "VIS.0202": Ask("GET", "streams/unknown"),
    "VIS.0204": Ask("GET", "streams/pushed/endpoint"),
    "VIS.0207": Ask("POST", "streams", {**PULL, "url": "ftp://camera.example/live"}),
    "VIS.0209": Ask("PUT", f"{AUTOMATIC}/retention", {**KEPT, "path": "../other"}),
    "VIS.0213": Ask("POST", "streams", {**PULL, "encode_type": "H265"}),
    "VIS.0214": Ask("GET", f"{AUTOMATIC}/retention/slices", query=span("01", "02")),
    "VIS.0215": Ask("GET", f"{AUTOMATIC}/retention/slices", query=span("01", "09")),
    "VIS.0216": Ask("GET", f"{AUTOMATIC}/retention/slices", query=span("02", "01")),
    "VIS.0301": Ask("POST", "devices", {"type": "IPC", "username": CREDENTIAL, "device_id_list": [IPC]}),
    "VIS.0302": Ask("GET", "devices/unknown"),
    "VIS.0303": Ask("DELETE", f"devices/{IPC}"),
    "VIS.0304": Ask("PUT", f"devices/{IPC}/channels/unknown", {"state": "ACTIVE"}),
    "VIS.0307": Ask("DELETE", CALLED),
    "VIS.0309": Ask("PUT", CALLED, {"state": "STOPPED"}),
    "VIS.0311": Ask("PUT", f"devices/{IPC}/channel-refresh"),
    "VIS.0313": Ask("PUT", f"devices/{NVR}/channels/{CHANNEL}", {"state": "ACTIVE", "tcp_priority": "TRUE"}),
}
"""By code: what a furnished gateway refuses at once."""


@provokes("VIS.0001")
async def _a_token_that_was_taken_back(stage: Stage) -> None:
    world, client = await stage.furnished()
    await world.accounts.revoke(str(client.token))
    await client.refused("VIS.0001", "GET", "devices")


@provokes("VIS.0003")
async def _a_header_that_names_another_project(stage: Stage) -> None:
    _, client = await stage.furnished()
    client.http.headers["X-Project-Id"] = "0" * 32
    await client.refused("VIS.0003", "GET", "devices")


@provokes("VIS.0004")
async def _not_subscribed(stage: Stage) -> None:
    _, client = await stage.opened(subscription_required=True)
    await client.refused("VIS.0004", "GET", "devices")


@provokes("VIS.0007")
async def _a_bug(stage: Stage) -> None:
    """Nothing of ours is known to be broken: something is broken for it."""
    world, client = await stage.furnished()
    object.__setattr__(world.gateway, "streams", None)
    await client.refused("VIS.0007", "GET", "streams")


@provokes("VIS.0008")
async def _a_database_that_fails(stage: Stage) -> None:
    _, client = await stage.furnished()
    stage.lose_table("device")
    await client.refused("VIS.0008", "GET", "devices")


@provokes("VIS.0009")
async def _a_database_that_fails_whoever_asks(stage: Stage) -> None:
    _, client = await stage.furnished()
    stage.lose_table("token")
    await client.refused("VIS.0009", "GET", "devices")


@provokes("VIS.0011")
async def _an_object_storage_that_does_not_answer(stage: Stage) -> None:
    await stage.refused_bucket("VIS.0011", s3.Faults.away)


@provokes("VIS.0012")
async def _a_bucket_that_nothing_may_be_deleted_from(stage: Stage) -> None:
    await stage.refused_bucket("VIS.0012", lambda faults: setattr(faults, "deny", ("DELETE", "POST")))


@provokes("VIS.0013")
async def _a_directory_that_cannot_be_made(stage: Stage) -> None:
    _, client = await stage.furnished()
    (stage.folder / "kept").write_text("a file")
    await client.refused("VIS.0013", "PUT", f"{AUTOMATIC}/retention", KEPT)


@provokes("VIS.0014")
async def _a_quota_that_is_used_up(stage: Stage) -> None:
    _, client = await stage.furnished(quotas={"device": 2})
    await client.refused("VIS.0014", "POST", "devices", {"type": "IPC", "username": CREDENTIAL})


@provokes("VIS.0015")
async def _a_project_whose_last_user_goes_meanwhile(stage: Stage) -> None:
    world, admin = await stage.furnished()
    other = await world.accounts.add_project("other", world.now)
    await world.accounts.add_user("keeper", "other", Role.ADMINISTRATOR, PASSWORD, world.now)
    token, _ = await world.accounts.log_in("keeper", PASSWORD, world.now)
    owner = world.accounts.owner

    async def deleted_meanwhile(project_id: str) -> User:
        await world.accounts.delete_user("keeper")  # who is let in already
        return await owner(project_id)

    world.accounts.owner = deleted_meanwhile  # type: ignore[method-assign]
    await Client(admin.http, other.project_id, token).refused("VIS.0015", "GET", "subscription")


@provokes("VIS.0017")
async def _a_bucket_that_may_not_be_read(stage: Stage) -> None:
    await stage.refused_bucket("VIS.0017", lambda faults: setattr(faults, "deny", ("HEAD",)))


@provokes("VIS.0018")
async def _subscribed_already(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("POST", "subscription")
    await client.refused("VIS.0018", "POST", "subscription")


@provokes("VIS.0107")
async def _a_key_that_a_stream_has(stage: Stage) -> None:
    _, client = await stage.furnished()
    key = (await client.ok("GET", "streams/pushed"))["access_key"]
    await client.refused("VIS.0107", "DELETE", f"credentials/aksks/{key}")


@provokes("VIS.0109")
async def _a_credential_whose_device_sends_video(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("PUT", CALLED, {"state": "ACTIVE"})
    change = {"password": PASSWORD, "new_password": "Other-1234"}
    await client.refused("VIS.0109", "PUT", f"credentials/codes/{CREDENTIAL}", change)


@provokes("VIS.0203")
async def _a_stream_that_is_being_deleted(stage: Stage) -> None:
    world, client = await stage.furnished()
    await client.ok("PUT", "streams/pushed", {"state": "ACTIVE"})
    async with world.traffic.sources.turn("default", "pushed"):  # something of it is under way: the deletion waits
        deletion = asyncio.create_task(client("DELETE", "streams/pushed"))
        async with asyncio.timeout(10):
            while not world.gateway.streams.deleting:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await client.refused("VIS.0203", "PUT", "streams/pushed", {"state": "STOPPED"})
    assert (await deletion).status_code == 200


@provokes("VIS.0205")
async def _a_retention_that_runs(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("PUT", f"{AUTOMATIC}/retention", KEPT)
    await client.refused("VIS.0205", "PUT", f"{AUTOMATIC}/retention", {**KEPT, "retention_in_hour": 48})


@provokes("VIS.0206")
async def _an_active_stream_of_another_type(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("PUT", "streams/pushed", {"state": "ACTIVE"})
    change = {"access_type": "HTTP-FLV", "url": PULL["url"]}
    await client.refused("VIS.0206", "PUT", "streams/pushed", change)


@provokes("VIS.0208")
async def _access_keys_that_are_refused(stage: Stage) -> None:
    await stage.refused_bucket("VIS.0208", lambda faults: setattr(faults, "answer", (403, s3.BAD_KEY)))


@provokes("VIS.0210")
async def _a_bucket_that_may_not_be_written(stage: Stage) -> None:
    await stage.refused_bucket("VIS.0210", lambda faults: setattr(faults, "answer", (403, s3.DENIED)))


async def _pulled(stage: Stage) -> tuple[World, Client, int]:
    world, client = await stage.furnished()
    await client.ok("POST", "streams", PULL)
    await client.ok("PUT", "streams/pulled", {"state": "ACTIVE"})
    (receiver,) = world.relay.open
    return world, client, receiver


@provokes("VIS.0211")
async def _a_source_that_sends_nothing(stage: Stage) -> None:
    world, client, receiver = await _pulled(stage)
    at = round(world.now.timestamp() * 1000)
    world.traffic.handle_media(Event("connected", receiver, {"peer": "192.0.2.7:80"}, at))
    world.now += timedelta(seconds=11)
    await client.refused("VIS.0211", "GET", "streams/pulled/endpoint")


@provokes("VIS.0212")
async def _a_source_that_cannot_be_connected_to(stage: Stage) -> None:
    world, client, receiver = await _pulled(stage)
    detail, at = {"reason": "connection refused", "retry_ms": "1000"}, round(world.now.timestamp() * 1000)
    world.traffic.handle_media(Event("connect_failed", receiver, detail, at))
    await client.refused("VIS.0212", "GET", "streams/pulled/endpoint")


@provokes("VIS.0305")
async def _a_camera_that_does_not_answer(stage: Stage) -> None:
    world, client = await stage.furnished()
    world.calls.error = GatewayError("answer: 486 Busy Here")
    await client.refused("VIS.0305", "PUT", CALLED, {"state": "ACTIVE"})


@provokes("VIS.0306")
async def _a_call_that_does_not_end(stage: Stage) -> None:
    world, client = await stage.furnished()
    await client.ok("PUT", CALLED, {"state": "ACTIVE"})
    world.calls.error = GatewayError("no answer to BYE")
    await client.refused("VIS.0306", "PUT", CALLED, {"state": "STOPPED"})


@provokes("VIS.0308")
async def _a_channel_that_is_invited(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("PUT", CALLED, {"state": "ACTIVE"})
    await client.refused("VIS.0308", "PUT", CALLED, {"state": "ACTIVE"})


@provokes("VIS.0310")
async def _a_channel_whose_strategy_decides(stage: Stage) -> None:
    _, client = await stage.furnished()
    await client.ok("PUT", f"{CALLED}/access-strategy", {**STRATEGY, "state": "ACTIVE"})
    await client.refused("VIS.0310", "PUT", CALLED, {"state": "ACTIVE"})


@provokes("VIS.0312")
async def _an_nvr_that_is_offline(stage: Stage) -> None:
    world, client = await stage.furnished()
    await world.lose(NVR, client.project_id)
    await client.refused("VIS.0312", "PUT", f"devices/{NVR}/channel-refresh")


@pytest.fixture
async def stage(
    opened: Opener, tmp_path: Path, s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults]
) -> Stage:
    return Stage(opened, tmp_path, s3_server, bucket, *broken)


@pytest.mark.parametrize("code", sorted(STATUS))
async def test_each_code_is_provoked(stage: Stage, code: str) -> None:
    """`refused` compares code and status with what came over HTTP."""
    if code in SCENARIOS:
        await SCENARIOS[code](stage)
        return
    asked = ASKED[code]
    _, client = await stage.furnished()
    await client.refused(code, asked.method, asked.path, asked.body, **asked.query)


def test_every_code_of_the_table_has_one_cause_here() -> None:
    assert not SCENARIOS.keys() & ASKED.keys()
    assert SCENARIOS.keys() | ASKED.keys() == STATUS.keys()
