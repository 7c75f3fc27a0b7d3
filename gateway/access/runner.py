"""Invites channels when their slices begin and hangs up when they end; what is due says `gateway.access.agenda`.

Channels that a record plan wants, until it says otherwise, are called and let go of here too
(`gateway.access.standing`): there is one who calls by itself, at one pace. A call that both want ends when neither
does; one that somebody made by hand before the plan wanted the channel goes on when the plan does not any more.

One task waits for whatever comes first; a slice costs a task of its own only while its channel is being called. What
became of slices is written behind, at most a second late; that somebody wants the channel is written at once by the
invitation itself, so that a restart inside a slice finds the channel wanted, and calls it once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from gateway.access.agenda import Agenda, Begin, End, Key, Moment
from gateway.access.rules import Settled
from gateway.access.slices import AccessSlice, SliceState, day_of, recovered
from gateway.access.standing import Call, Leave, Standing
from gateway.accounts.quotas import Quotas
from gateway.devices.errors import NotInvitableError, NotInvitedError
from gateway.devices.model import Channel, ChannelId, DeviceId, InvitationStatus, StateEvent
from gateway.errors import GatewayError, NotFoundError
from gateway.gb28181.notices import ChannelForgotten, DeviceForgotten, Notice
from gateway.store import Store
from gateway.store.strategies import CHANGED

log = structlog.get_logger(__name__)

AHEAD: Final = timedelta(minutes=10)
"""Planned slices are held in memory for so long before they begin: starts lie 10 minutes apart."""
LOAD_EVERY: Final = timedelta(minutes=5)
IN_FLIGHT: Final = 2_000
"""Calls that may wait for an answer at once; beyond it beginnings wait in the agenda's queue."""
TICK: Final = 0.05
"""Seconds between two looks at what is due, at least; what begins in one of them is read together."""
QUOTAS_KEPT: Final = 5.0
"""Seconds for which a project's quota is not read again."""
WRITE_EVERY: Final = 1.0
ALIVE_EVERY: Final = 10.0
AGAIN: Final = 5.0
"""Seconds after which a database that failed is asked again."""
CLOSING: Final = 5.0
CALLED: Final = frozenset(
    {InvitationStatus.INVITING, InvitationStatus.INVITE_SUCCESS, InvitationStatus.TEMPORARY_OFFLINE}
)


class Calls(Protocol):
    """Who calls channels and hangs up (`gateway.gb28181.invitation_service`)."""

    async def invite(self, channel: Channel, *, quota: int | None = None, by_strategy: bool = False) -> None: ...

    async def cancel(self, channel: Channel, *, by_strategy: bool = False) -> None: ...

    def status(self, device_id: DeviceId, channel_id: ChannelId) -> InvitationStatus | None: ...

    def known(self, device_id: DeviceId, channel_id: ChannelId) -> Channel | None: ...

    def hold(self, device_id: DeviceId, channel_id: ChannelId, held: bool) -> None: ...

    def keep(self, device_id: DeviceId, channel_id: ChannelId, kept: bool) -> None: ...

    @property
    def held(self) -> Sequence[Channel]: ...


class AccessRunner:
    """`start` once devices are taken up and before lost calls are made again; then `run` for ever, and `close`.

    `rate`: beginnings a second, and as many ends; `clock` is the calendar.
    """

    def __init__(
        self, *, store: Store, calls: Calls, quotas: Quotas, clock: Callable[[], datetime], rate: float
    ) -> None:
        self._store = store
        self._calls = calls
        self._quotas = quotas
        self._clock = clock
        self._agenda = Agenda(rate)
        self._standing = Standing(self._agenda.begin_gate, self._agenda.end_gate)
        self._called: set[Key] = set()
        """Channels that are called because a plan wants them, as the database has it."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._load_at: datetime | None = None
        """When planned slices are read next; None: at once."""
        self._loaded_until: datetime | None = None
        self._saving: asyncio.Task[None] | None = None
        self._saved_at = self._alive_at = 0.0
        self._project_quotas: dict[str, tuple[float, int | None]] = {}
        self._closed = False
        self.figures = {"calls": 0, "calls_failed": 0, "hung_up": 0}
        """What was done since the start."""

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up what a process before us began, and hangs up what it left without a slice. UnavailableError.

        What plans want must have been told (`want`) before.
        """
        moment = self._moment()
        alive = await self._store.slices.alive()
        found = await self._store.slices.unfinished(day_of(moment.at), moment.at)
        self._agenda.add(recovered(record, alive) for record, _ in found)
        for record, valid in found:
            if not valid:
                self._agenda.withdraw(moment, record.key, CHANGED)
        await self._load(moment)
        self._called = await self._store.record_plans.called()
        self._standing.leave(self._called)
        for channel in self._calls.held:
            if channel.wanted and not self._agenda.has_open((channel.device_id, channel.channel_id)):
                self._spawn(self._let_go(channel))

    async def run(self) -> None:
        """Does what is due, when it is due, until it is closed."""
        while not self._closed:
            self._wake.clear()
            wait = await self._turn()
            await asyncio.sleep(TICK)  # however often it is woken: what begins meanwhile is read together
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait - TICK)):
                    await self._wake.wait()

    async def close(self) -> None:
        """Counts what flows up to now and keeps it; the channels stay wanted."""
        self._closed = True
        self._wake.set()
        self._agenda.pause(self._moment())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError, GatewayError):
            async with asyncio.timeout(CLOSING):
                if self._saving is not None:
                    await asyncio.wait([self._saving])
                await self._save(alive=True)

    def reload(self) -> None:
        """A day was planned: there is more to begin."""
        self._load_at = None
        self._wake.set()

    # -- what others tell -------------------------------------------------------------------------------------------

    async def apply(self, channel: Channel, settled: Settled, today: Sequence[AccessSlice]) -> None:
        """A strategy was changed: what was planned before is void, also the slice or the call of now."""
        key = channel.device_id, channel.channel_id
        self._calls.hold(*key, settled.strategy.active)
        if not settled.redrawn:
            return
        self._agenda.withdraw(self._moment(), key, CHANGED)
        until = self._loaded_until
        self._agenda.add(
            found for found in today if found.state is SliceState.PLANNED and until and found.starts_at <= until
        )
        self._wake.set()
        await self._let_go(channel)

    def want(self, keys: Collection[Key]) -> None:
        """Record plans want these channels from now on, and no others: they alone invite and cancel them."""
        for key in set(self._standing.keys).difference(keys):
            self._calls.keep(*key, False)
        for key in keys:  # those that it knows too: a channel may have been deleted and be there again
            self._calls.keep(*key, True)
        self._standing.want(keys)
        self._wake.set()

    def release(self, key: Key) -> None:
        """The strategy of a channel has come to its end."""
        self._calls.hold(*key, False)

    def handle_event(self, event: StateEvent) -> None:
        """A channel's status changed."""
        if event.channel_id is None or self._closed:
            return
        key = event.device_id, event.channel_id
        self._agenda.handle_status(self._moment(), key, event.before, event.after, event.detail)
        self._standing.handle_status(self._loop.time(), key, event.before, event.after)
        if self._agenda.has_open(key) or self._standing.wants(key):
            self._wake.set()

    def handle_notice(self, notice: Notice) -> Sequence[StateEvent]:
        """A device or a channel may be no more."""
        if isinstance(notice, DeviceForgotten):
            self._agenda.forget(notice.device_id)
        elif isinstance(notice, ChannelForgotten):
            self._agenda.forget(notice.device_id, notice.channel_id)
        return ()

    def look(self, record: AccessSlice) -> AccessSlice:
        """The slice as it stands now, ahead of what is written."""
        return self._agenda.look(record, self._moment())

    @property
    def counts(self) -> Mapping[str, int]:
        """Slices by what they wait for."""
        return self._agenda.counts

    @property
    def standing(self) -> Mapping[str, int]:
        """Channels that record plans want now, and those that wait for their turn to be called or let go of."""
        return self._standing.counts

    # -- one turn ---------------------------------------------------------------------------------------------------

    async def _turn(self) -> float:
        """Does what is due; gives the seconds until more is."""
        moment = self._moment()
        if self._load_at is None or moment.at >= self._load_at:
            try:
                await self._load(moment)
            except GatewayError as error:
                log.warning("slices not read", error=str(error))
                self._load_at = moment.at + timedelta(seconds=AGAIN)
        moment = self._moment()
        self._agenda.handle_timeout(moment, IN_FLIGHT - len(self._tasks))
        self._act()
        self._standing.handle_timeout(moment.now, IN_FLIGHT - len(self._tasks))
        self._act_on_plans()
        self._write_behind(moment.now)
        due = min(self._agenda.next_timeout(self._moment()), max(self._saved_at + WRITE_EVERY, moment.now + TICK))
        if (standing := self._standing.next_timeout()) is not None:
            due = min(due, standing)
        return max(TICK, due - self._loop.time())

    async def _load(self, moment: Moment) -> None:
        until = moment.at + AHEAD
        self._load_at = moment.at + LOAD_EVERY  # before the question: whoever plans meanwhile asks for another
        self._agenda.add(await self._store.slices.due(until))
        self._loaded_until = until

    def _act(self) -> None:
        beginning: list[AccessSlice] = []
        while (action := self._agenda.poll_action()) is not None:
            match action:
                case Begin(record):
                    if self._is_callable(record):
                        beginning.append(record)
                case End(record):
                    channel = self._calls.known(*record.key)
                    if channel is not None:
                        self._spawn(self._let_go(channel))
        if beginning:
            self._spawn(self._begin(beginning))

    def _is_callable(self, record: AccessSlice) -> bool:
        """Whether it must be called now; if not, tells the agenda how the channel stands."""
        status = self._calls.status(*record.key)
        if status is InvitationStatus.ONLINE:
            return True
        if status is InvitationStatus.INVITE_SUCCESS:
            self._agenda.flows(self._moment(), record.key)
        elif status is None:
            self._agenda.failed(self._moment(), record, "the channel is gone", again=False)
        elif status not in CALLED and status is not InvitationStatus.CANCELING:
            self._agenda.failed(self._moment(), record, "the device is offline", again=False)
        return False

    async def _begin(self, records: Sequence[AccessSlice]) -> None:
        """Calls channels with their settings of now."""
        try:
            found = {
                (channel.device_id, channel.channel_id): channel
                for channel in await self._store.channels.several([record.key for record in records])
            }
            quotas = {project_id: await self._quota(project_id) for project_id in {one.project_id for one in records}}
        except GatewayError as error:
            for record in records:
                self._agenda.failed(self._moment(), record, str(error))
            return
        for record in records:
            channel = found.get(record.key)
            if channel is not None and self._agenda.is_open(record):
                self._spawn(self._call(record, channel, quotas[record.project_id]))

    async def _quota(self, project_id: str) -> int | None:
        """Active streams that the project may have."""
        read_at, quota = self._project_quotas.get(project_id, (float("-inf"), None))
        if self._loop.time() >= read_at + QUOTAS_KEPT:
            project = await self._store.accounts.project(project_id)
            quota = None if project is None else self._quotas.of(project, "active_stream")
            self._project_quotas[project_id] = self._loop.time(), quota
        return quota

    async def _call(self, record: AccessSlice, channel: Channel, quota: int | None) -> None:
        if not (self._agenda.is_open(record) and self._is_callable(record)):
            return
        self._agenda.called(record)
        self.figures["calls"] += 1
        try:
            await self._calls.invite(channel, quota=quota, by_strategy=True)
        except GatewayError as error:
            if isinstance(error, NotInvitableError) and not self._is_callable(record):
                return
            self.figures["calls_failed"] += 1
            self._agenda.failed(self._moment(), record, str(error))
            log.warning(
                "slice not begun", device=record.device_id, channel=record.channel_id, slice=record.slice_id,
                error=str(error),
            )  # fmt: skip
            self._wake.set()

    async def _let_go(self, channel: Channel) -> None:
        """A slice is over: hangs up, unless a plan wants the channel, which takes the call over."""
        key = channel.device_id, channel.channel_id
        if not self._standing.wants(key):
            await self._hang_up(channel)
            return
        try:
            await self._note_called(key, True)
        except GatewayError as error:  # it goes on, and will not be ended with the plan
            log.warning("not noted that a plan goes on with a call", device=key[0], channel=key[1], error=str(error))
        self._standing.again(key)  # in case there is no call
        self._wake.set()

    async def _hang_up(self, channel: Channel) -> None:
        try:
            await self._calls.cancel(channel, by_strategy=True)
        except (NotInvitedError, NotFoundError):
            return
        except GatewayError as error:  # the call ends all the same; after a restart `start` sees to what is left
            log.warning("hanging up", device=channel.device_id, channel=channel.channel_id, error=str(error))
        self.figures["hung_up"] += 1

    # -- what record plans want -------------------------------------------------------------------------------------

    def _act_on_plans(self) -> None:
        calling: list[Key] = []
        while (action := self._standing.poll_action()) is not None:
            match action:
                case Call(key):
                    status = self._calls.status(*key)
                    if status is None:
                        self._standing.failed(self._loop.time(), key)
                    elif status is InvitationStatus.ONLINE and not self._agenda.has_open(key):
                        calling.append(key)
                case Leave(key):
                    self._spawn(self._leave(key))
        if calling:
            self._spawn(self._call_all(calling))

    async def _call_all(self, keys: Sequence[Key]) -> None:
        try:
            found = await self._store.channels.several(keys)
            quotas = {project_id: await self._quota(project_id) for project_id in {one.project_id for one in found}}
        except GatewayError as error:
            log.warning("channels of record plans not read", error=str(error))
            for key in keys:
                self._standing.failed(self._loop.time(), key)
            return
        for channel in found:
            self._spawn(self._call_for_plan(channel, quotas[channel.project_id]))

    async def _call_for_plan(self, channel: Channel, quota: int | None) -> None:
        key = channel.device_id, channel.channel_id
        try:
            await self._note_called(key, True)
            if not self._standing.wants(key) or self._calls.status(*key) is not InvitationStatus.ONLINE:
                return
            self.figures["calls"] += 1
            await self._calls.invite(channel, quota=quota, by_strategy=True)
        except GatewayError as error:
            self.figures["calls_failed"] += 1
            self._standing.failed(self._loop.time(), key)
            log.warning("not called for its record plan", device=key[0], channel=key[1], error=str(error))
            self._wake.set()

    async def _leave(self, key: Key) -> None:
        """No plan wants the channel any more; what others want goes on."""
        if key not in self._called or self._standing.wants(key):
            return
        channel = self._calls.known(*key)
        if channel is not None and not self._agenda.has_open(key):
            await self._hang_up(channel)
        if self._standing.wants(key):  # again
            return
        try:
            await self._note_called(key, False)
        except GatewayError as error:  # a restart sees to it
            log.warning("not noted that a plan let go", device=key[0], channel=key[1], error=str(error))

    async def _note_called(self, key: Key, called: bool) -> None:
        """UnavailableError; then it is as it was."""
        if called is (key in self._called):
            return
        await self._store.record_plans.set_called(key, called)
        (self._called.add if called else self._called.discard)(key)

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write_behind(self, now: float) -> None:
        if self._saving is not None or now < self._saved_at + WRITE_EVERY:
            return
        alive = now >= self._alive_at + ALIVE_EVERY and self._agenda.counts["flowing"] > 0
        if not alive and not self._agenda.has_changed:
            return
        self._saved_at = now
        if alive:
            self._alive_at = now
        self._saving = self._loop.create_task(self._save(alive=alive))
        self._saving.add_done_callback(self._done_saving)

    async def _save(self, *, alive: bool) -> None:
        at = self._clock()
        changed = self._agenda.take_changed()
        try:
            await self._store.slices.save(changed)
            if alive:
                await self._store.slices.mark_alive(at)
        except GatewayError as error:
            log.warning("slices not kept", slices=len(changed), error=str(error))
            self._agenda.put_back(changed)

    def _done_saving(self, task: asyncio.Task[None]) -> None:
        self._saving = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("keeping slices failed", exc_info=error)

    # -- small things -----------------------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        return Moment(self._loop.time(), self._clock())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the access runner failed", exc_info=error)
