"""Access strategies of channels (§4.3.4)."""

import msgspec
from litestar import Controller, put
from litestar.params import FromPath, JSONBody

from api.context import SCOPED, Authorised, Services
from api.vis.common import Done, optional
from gateway.access.model import (
    AccessStrategy,
    Periodicity,
    RandomStrategy,
    StrategyState,
    read_minutes,
    show_minutes,
)
from gateway.access.rules import StrategyChange
from gateway.errors import InvalidError


class StrategyBody(msgspec.Struct, kw_only=True):
    """`access_strategy` of a channel. Times are HH:MM in UTC+8, lengths minutes."""

    random_strategy: str
    start_time: str
    end_time: str
    """Empty if it was never given, which only CONSECUTIVE may do."""
    total_length: int
    periodicity: str
    state: str


class StrategyOrder(msgspec.Struct, kw_only=True):
    """What is to be changed; the first time `start_time`, `total_length` and, for RANDOM, `end_time` are needed."""

    random_strategy: str | None = None
    """RANDOM (default) or CONSECUTIVE."""
    start_time: str | None = None
    end_time: str | None = None
    """Without a meaning for CONSECUTIVE."""
    total_length: int | str | None = None
    """Minutes; digits in quotes are read too."""
    periodicity: str | None = None
    """DAY (default) or ONCE."""
    state: str | None = None
    """ACTIVE or STOPPED (default)."""


class StrategyController(Controller):
    path = "/{project_id:str}/devices/{device_id:str}/channels/{channel_id:str}/access-strategy"
    tags = ("devices",)

    @put(summary="Set or change when a channel is invited by itself", opt=SCOPED)
    async def change(
        self,
        project_id: FromPath[str],
        device_id: FromPath[str],
        channel_id: FromPath[str],
        data: JSONBody[StrategyOrder],
        request: Authorised,
        gateway: Services,
    ) -> Done:
        channel = await gateway.devices.channel(request.auth.scope, device_id, channel_id)
        await gateway.strategies.change(request.auth.project, channel, _change(data), gateway.clock())
        return Done()


def strategy_body(strategy: AccessStrategy) -> StrategyBody:
    """As lists of channels show it."""
    timing = strategy.timing
    return StrategyBody(
        random_strategy=timing.kind.value,
        start_time=show_minutes(timing.start),
        end_time="" if timing.end is None else show_minutes(timing.end),
        total_length=timing.total,
        periodicity=strategy.periodicity.value,
        state=strategy.state.value,
    )


def _change(data: StrategyOrder) -> StrategyChange:
    """InvalidError names what cannot be read. Empty texts count as left out: so the end of CONSECUTIVE is shown."""
    return StrategyChange(
        kind=optional(RandomStrategy, data.random_strategy, "random_strategy"),
        start=read_minutes(data.start_time, "start_time") if data.start_time else None,
        end=read_minutes(data.end_time, "end_time") if data.end_time else None,
        total=_minutes(data.total_length),
        periodicity=optional(Periodicity, data.periodicity, "periodicity"),
        state=optional(StrategyState, data.state, "state"),
    )


def _minutes(given: int | str | None) -> int | None:
    if given is None or isinstance(given, int):
        return given
    if given and not (given.isascii() and given.isdigit() and len(given) <= 6):
        raise InvalidError("total_length", "a number of minutes")
    return int(given) if given else None
