"""Playbacks of what was recorded of a stream."""

from datetime import UTC, datetime

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from api.context import OWN, SCOPED, Authorised, Services, address_bases
from api.operator.controllers import Play, play
from api.services import Gateway
from gateway.playback.service import Playback, Steering

WATCHING = {**SCOPED, **OWN}
"""A playback touches nothing of the project: viewers may have theirs."""


class PlaybackBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    begin: datetime
    end: datetime
    speed: float = 1.0
    """0.25 to 16; other than 1 without sound, above 4 only key frames."""
    paused: bool = False


class SteeringBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    position: datetime | None = None
    """It goes on at the last key frame at or before it."""
    speed: float | None = None
    paused: bool | None = None


class PlaybackView(msgspec.Struct, kw_only=True):
    id: str
    begin: datetime
    end: datetime
    position: datetime
    """Of the last word of it: at most 5 s ago, while it plays."""
    speed: float
    paused: bool
    problems: int
    """Recordings that could not be played."""
    waiting: str
    """Why the recording that comes next cannot be fetched from its bucket; it is tried again. Mostly empty."""
    play: Play


class PlaybackList(msgspec.Struct, kw_only=True):
    playbacks: list[PlaybackView]


class PlaybackController(Controller):
    path = "/streams/{stream_name:str}/playbacks"
    tags = ("operator",)

    @post(summary="Play back what was recorded of a stream", opt=WATCHING)
    async def create(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[PlaybackBody]
    ) -> PlaybackView:
        """It plays by all protocols, and ends behind `end`, or when nobody watched or steered it for a minute."""
        found = await gateway.playbacks.create(
            request.auth.scope, stream_name, _aware(data.begin), _aware(data.end), speed=data.speed, paused=data.paused
        )
        return _view(request, gateway, found)

    @get(summary="Playbacks of a stream that run", opt=SCOPED)
    async def list(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> PlaybackList:
        found = await gateway.playbacks.list(request.auth.scope, stream_name)
        return PlaybackList(playbacks=[_view(request, gateway, one) for one in found])

    @get("/{playback_id:str}", summary="Where a playback stands", opt=SCOPED)
    async def show(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], playback_id: FromPath[str]
    ) -> PlaybackView:
        return _view(request, gateway, await gateway.playbacks.get(request.auth.scope, stream_name, playback_id))

    @patch("/{playback_id:str}", summary="Seek, speed up, stop or go on", opt=WATCHING)
    async def steer(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        playback_id: FromPath[str],
        data: JSONBody[SteeringBody],
    ) -> PlaybackView:
        position = _aware(data.position) if data.position else None
        wish = Steering(position=position, speed=data.speed, paused=data.paused)
        found = await gateway.playbacks.steer(request.auth.scope, stream_name, playback_id, wish)
        return _view(request, gateway, found)

    @delete("/{playback_id:str}", summary="End a playback", opt=WATCHING)
    async def end(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], playback_id: FromPath[str]
    ) -> None:
        await gateway.playbacks.delete(request.auth.scope, stream_name, playback_id)


def _aware(moment: datetime) -> datetime:
    """Without a zone it is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _view(request: Request, gateway: Gateway, found: Playback) -> PlaybackView:  # type: ignore[type-arg]
    return PlaybackView(
        id=found.playback_id,
        begin=found.begin.astimezone(UTC),
        end=found.end.astimezone(UTC),
        position=found.position.astimezone(UTC),
        speed=found.speed,
        paused=found.paused,
        problems=found.problems,
        waiting=found.waiting,
        play=play(gateway.playbacks.addresses(found, address_bases(request, gateway))),
    )
