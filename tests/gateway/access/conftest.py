"""A gateway without HTTP whose access strategies go by a calendar that tests set, and cameras around it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.rules import StrategyChange
from gateway.access.slices import AccessSlice, day_of, moment_of
from gateway.app import App
from gateway.clock import utc_now
from gateway.credentials.model import CredentialType
from gateway.devices.model import Channel
from gateway.settings import load
from tests.gateway.gb28181.test_invitation_service import PASSWORD, World
from tests.ports import free_ports

DAY = date(2030, 6, 1)


class Calendar:
    """Runs on like any clock, from where it was set."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self._offset

    def set(self, day: date, minute: int, seconds: float = 0.0) -> None:
        self._offset = moment_of(day, minute) + timedelta(seconds=seconds) - utc_now()


class AccessWorld(World):
    """What tests ask about strategies."""

    calendar: Calendar

    async def strategy(self, channel: Channel, change: StrategyChange) -> None:
        project = await self.app.store.accounts.project(channel.project_id)
        assert project is not None
        await self.app.strategies.change(project, channel, change, self.calendar())

    async def slices(self, channel: Channel) -> list[AccessSlice]:
        """Those of the calendar's day, as the API shows them."""
        return list((await self.app.strategies.day(channel, day_of(self.calendar()))).entries)


OpenWorld = Callable[..., AbstractAsyncContextManager[AccessWorld]]


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def open_world(tmp_path: Path, calendar: Calendar) -> OpenWorld:
    """Opens the gateway with settings of one's own; several times in a row to restart it."""
    sip, rtp = free_ports(2)
    rtp = 10_000 + (rtp & ~1)  # above all ports that tests take so
    usual = [
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

    @asynccontextmanager
    async def run(*overrides: str) -> AsyncIterator[AccessWorld]:
        async with App.open(load([*usual, *overrides]), calendar=calendar) as app:
            (project,) = await app.accounts.all_projects()
            if not await app.store.credentials.count(project.project_id):
                await app.credentials.create(
                    project,
                    username="camera",
                    type_=CredentialType.NORMAL,
                    password=PASSWORD,
                    description="",
                    at=utc_now(),
                )
            world = AccessWorld(app, project)
            world.calendar = calendar
            yield world

    return run
