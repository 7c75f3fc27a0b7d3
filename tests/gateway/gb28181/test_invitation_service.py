"""`gateway.gb28181.invitation_service` with real SIP, relay, store and devices: whatever happens in whatever order,
nothing is leaked."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.accounts.model import Project
from gateway.app import App
from gateway.clock import utc_now
from gateway.credentials.model import CredentialType
from gateway.devices.errors import ChannelRegisteredError, NotInvitableError, NotInvitedError
from gateway.devices.model import Channel, DeviceId, DeviceType, InvitationStatus
from gateway.errors import UnavailableError
from gateway.gb28181.invitation_service import InvitationError
from gateway.scope import Scope
from gateway.settings import Settings, load
from gateway.simulator.clip import ClipSpec
from gateway.simulator.config import ChannelSpec, DeviceSpec, FleetConfig, Server
from gateway.simulator.fleet import Fleet
from gateway.simulator.misbehaviour import Misbehaviour, parse_misbehaviour
from media._core import CoreError
from tests.ports import free_ports

PASSWORD = "Camera-pass-1"
TINY = ClipSpec(width=160, height=96, fps=10, gop=10, bitrate_bps=64_000)


@dataclass
class World:
    """A gateway without HTTP, and what is needed to put devices around it."""

    app: App
    project: Project

    async def provision(self, quantity: int) -> list[DeviceId]:
        made = await self.app.devices.create(
            self.project, type_=DeviceType.IPC, username="camera", quantity=quantity, at=utc_now()
        )
        return list(made)

    def fleet(self, ids: list[DeviceId], misbehaviour: Misbehaviour | None = None) -> Fleet:
        settings = self.app.settings
        server = Server(settings.sip.id, "127.0.0.1", settings.sip.port, settings.sip.domain)
        specs = tuple(DeviceSpec(code, code, (ChannelSpec(code, code),), PASSWORD, "camera") for code in ids)
        return Fleet(
            FleetConfig(server, specs, clip=TINY, misbehaviour=misbehaviour or Misbehaviour(), keepalive_s=1.0), seed=1
        )

    async def channel(self, device_id: DeviceId, seconds: float = 20.0) -> Channel:
        """The device's channel, once its catalogue was read."""
        async with asyncio.timeout(seconds):
            while True:
                channels = await self.app.store.channels.of_devices([device_id])
                # It is stored first, and can be invited a moment later.
                if channels.get(device_id) and self.status(channels[device_id][0]) is not None:
                    return channels[device_id][0]
                await asyncio.sleep(0.05)

    def status(self, channel: Channel) -> InvitationStatus | None:
        return self.app.invitations.status(channel.device_id, channel.channel_id)

    async def until(self, channel: Channel, *statuses: InvitationStatus, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while self.status(channel) not in statuses:  # noqa: ASYNC110  (polled as users poll it)
                await asyncio.sleep(0.02)

    async def nothing_is_held(self, seconds: float = 60.0) -> None:
        """No stream, receiver, dialog or stored call is left."""

        def held() -> tuple[int, int]:
            return self.app.relay.stream_count(), self.app.endpoint.counters["dialogs.calls"]

        async with asyncio.timeout(seconds):
            while held() != (0, 0) or [call async for call in self.app.store.calls.load()]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sip, rtp = free_ports(2)
    rtp = 10_000 + (rtp & ~1)  # above all ports that tests take so
    return load(
        [
            f"data_dir={tmp_path}",
            "sip.host=127.0.0.1",
            f"sip.port={sip}",
            "rtp.host=127.0.0.1",
            f"rtp.port_min={rtp}",
            f"rtp.port_max={rtp + 199}",
            "rtmp.port=0",
            "rtsp.port=0",
            "media.threads=1",
            "rtp.silence=2",
        ]
    )


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with App.open(settings) as app:
        (project,) = await app.accounts.all_projects()
        await app.credentials.create(
            project, username="camera", type_=CredentialType.NORMAL, password=PASSWORD, description="", at=utc_now()
        )
        yield World(app, project)


async def test_video_flows_until_it_is_cancelled(world: World) -> None:
    ids = await world.provision(1)
    async with world.fleet(ids) as fleet:
        channel = await world.channel(ids[0])
        await world.app.invitations.invite(channel)
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)
        assert fleet.figures.streaming == 1
        with pytest.raises(NotInvitableError):
            await world.app.invitations.invite(channel)
        await world.app.invitations.cancel(channel)
        await world.until(channel, InvitationStatus.ONLINE)
        await world.nothing_is_held()
        with pytest.raises(NotInvitedError):
            await world.app.invitations.cancel(channel)


async def test_a_deleted_channel_is_forgotten_and_comes_back_as_another(world: World) -> None:
    ids = await world.provision(1)
    scope = Scope(world.project.project_id)
    async with world.fleet(ids):
        before = await world.channel(ids[0])
        with pytest.raises(ChannelRegisteredError):
            await world.app.devices.delete_channel(scope, ids[0], before.channel_id, utc_now())
    await world.until(before, InvitationStatus.OFFLINE)
    await world.app.devices.delete_channel(scope, ids[0], before.channel_id, utc_now())
    assert world.status(before) is None
    async with world.fleet(ids):
        after = await world.channel(ids[0])
        assert after.stream_id != before.stream_id
        await world.app.invitations.invite(after)
        await world.until(after, InvitationStatus.INVITE_SUCCESS)
        await world.app.invitations.cancel(after)
        await world.until(after, InvitationStatus.ONLINE)


async def test_an_answer_that_the_relay_cannot_follow_ends_the_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise CoreError("SSRC 1 is another stream's")

    monkeypatch.setattr(world.app.relay, "expect", refuse)
    ids = await world.provision(1)
    async with world.fleet(ids):
        channel = await world.channel(ids[0])
        with pytest.raises(InvitationError, match="another stream"):
            await world.app.invitations.invite(channel)
        assert world.status(channel) is InvitationStatus.ONLINE
        await world.nothing_is_held()


async def test_a_call_ends_though_its_cancellation_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("away")

    ids = await world.provision(1)
    async with world.fleet(ids) as fleet:
        channel = await world.channel(ids[0])
        await world.app.invitations.invite(channel)
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)
        with monkeypatch.context() as patch:
            patch.setattr(world.app.store.channels, "set_wanted", away)
            with pytest.raises(UnavailableError):
                await world.app.invitations.cancel(channel)
        await world.until(channel, InvitationStatus.ONLINE)
        await world.nothing_is_held()
        assert fleet.figures.streaming == 0


async def test_a_database_that_is_away_at_the_start_does_not_stop_the_gateway(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await world.provision(1)
    async with world.fleet(ids):
        channel = await world.channel(ids[0])
        await world.app.invitations.invite(channel)
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)

        async def away(*_arguments: object) -> None:
            raise UnavailableError("away")

        with monkeypatch.context() as patch:
            patch.setattr(world.app.store.calls, "delete", away)
            await world.app.invitations.recover()
        await world.app.invitations.recover()
        assert [call async for call in world.app.store.calls.load()] == []


async def test_callers_at_once_make_one_call(world: World) -> None:
    ids = await world.provision(1)
    async with world.fleet(ids) as fleet:
        channel = await world.channel(ids[0])
        results = await asyncio.gather(
            *(world.app.invitations.invite(channel) for _ in range(5)), return_exceptions=True
        )
        assert sum(result is None for result in results) == 1
        assert sum(isinstance(result, NotInvitableError) for result in results) == 4
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)
        assert fleet.figures.streaming == 1


@pytest.mark.parametrize(
    ("misbehaviour", "shown"),
    [("refuse=486", "invite: refused 486"), ("refuse=488", "invite: refused 488")],
)
async def test_a_refusal_is_told_at_once_and_kept(world: World, misbehaviour: str, shown: str) -> None:
    ids = await world.provision(1)
    async with world.fleet(ids, parse_misbehaviour(misbehaviour)):
        channel = await world.channel(ids[0])
        with pytest.raises(InvitationError, match=shown):
            await world.app.invitations.invite(channel)
        assert world.status(channel) is InvitationStatus.ONLINE
        assert shown in str(world.app.invitations.failure(channel.device_id, channel.channel_id))
        await world.nothing_is_held()


async def test_a_lost_stream_is_called_again(world: World) -> None:
    ids = await world.provision(1)
    async with world.fleet(ids, parse_misbehaviour("bye_after=1s")) as fleet:
        channel = await world.channel(ids[0])
        await world.app.invitations.invite(channel)
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)
        await world.until(channel, InvitationStatus.TEMPORARY_OFFLINE)
        await world.until(channel, InvitationStatus.INVITE_SUCCESS)
        assert fleet.figures.invitations >= 2
        with contextlib.suppress(NotInvitedError):
            await world.app.invitations.cancel(channel)
        await world.until(channel, InvitationStatus.ONLINE)
        await world.nothing_is_held()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
async def test_any_order_of_events_leaves_nothing_behind(world: World, seed: int) -> None:
    """Invitations, cancellations, device restarts, deaths and hang-ups at random moments."""
    dice = random.Random(seed)
    ids = await world.provision(6)
    manners = ["", "bye_after=0.7s", "silent=0.8s", "slow=0.4s", "refuse=488", "no_media"]
    async with contextlib.AsyncExitStack() as stack:
        fleets = [
            await stack.enter_async_context(world.fleet([code], parse_misbehaviour(manner)))
            for code, manner in zip(ids, manners, strict=True)
        ]
        channels = [await world.channel(code) for code in ids]
        for _ in range(40):
            channel = dice.choice(channels)
            action = dice.choice([world.app.invitations.invite, world.app.invitations.cancel])
            with contextlib.suppress(InvitationError, NotInvitableError, NotInvitedError, TimeoutError):
                async with asyncio.timeout(dice.choice([0.05, 0.5, 5.0])):
                    await action(channel)
            await asyncio.sleep(dice.random() * 0.3)
        assert sum(fleet.figures.invitations for fleet in fleets) > 0
        for channel in channels:
            with contextlib.suppress(NotInvitedError):
                await world.app.invitations.cancel(channel)
        for channel in channels:
            await world.until(channel, InvitationStatus.ONLINE)
        await world.nothing_is_held()
        assert all(fleet.figures.streaming == 0 for fleet in fleets)
    for channel in channels:
        await world.until(channel, InvitationStatus.OFFLINE)
