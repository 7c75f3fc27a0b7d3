"""Channels are invited, kept, retried and cancelled: the status machine of each, its call, the store and the relay.

The status that the API shows lives here in memory and is written behind in order. Whether somebody wants a channel is
durable before the caller is answered; each confirmed dialog is kept, so that after a crash it is ended and made anew.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, Self

import structlog

from gateway.devices.errors import NotInvitableError, NotInvitedError
from gateway.devices.invitation import ChannelInvitation
from gateway.devices.model import (
    CatalogueChange,
    Channel,
    ChannelId,
    DeviceId,
    InvitationStatus,
    MediaTransport,
    SavedCall,
    StateCause,
    StateEvent,
)
from gateway.errors import IllegalTransitionError, NotFoundError
from gateway.gb28181.active_call import ActiveCall, MediaEvent, Surroundings, Target
from gateway.gb28181.call import Attempt, Cancelled, DeviceGone, Failure, FailureCause
from gateway.store import Store
from sip import SipError
from sip.flow import Flow

log = structlog.get_logger(__name__)

S = InvitationStatus
C = StateCause

REFUSAL_SHOWN: Final = 3.0
"""Seconds that `invite` waits for the device's answer before it leaves the rest to the background."""
ENDINGS_AT_ONCE: Final = 64
"""Old dialogs that are ended at the same time after a restart."""


class Registered(Protocol):
    """Who is registered, and over which flow (`gateway.gb28181.directory`)."""

    def flow(self, device_id: DeviceId) -> Flow | None:
        """The flow that the device opened; None while it is offline."""


@dataclass(frozen=True, slots=True)
class TransportPolicy:
    """Which media transports to offer: `prefer` to all, `tcp_order` to those who prefer TCP."""

    prefer: MediaTransport = MediaTransport.UDP
    tcp_order: tuple[MediaTransport, ...] = (MediaTransport.TCP_PASSIVE,)

    def attempts(self, tcp_priority: bool) -> list[Attempt]:
        """The offers to make, in order. A refused UDP offer is made once more with PS alone."""
        udp = [Attempt(MediaTransport.UDP), Attempt(MediaTransport.UDP, minimal=True)]
        if self.prefer is MediaTransport.UDP and not tcp_priority:
            return udp
        first = [] if self.prefer is MediaTransport.UDP else [self.prefer]
        tcp = first + [transport for transport in self.tcp_order if transport not in first]
        return [*map(Attempt, tcp), udp[0]]


class Line:
    """One channel: its status machine, its call, and what came of the last one."""

    __slots__ = ("call", "channel", "failure", "machine", "recovering", "timer", "waiters")

    def __init__(self, channel: Channel, machine: ChannelInvitation) -> None:
        self.channel = channel
        self.machine = machine
        self.call: ActiveCall | None = None
        self.failure: Failure | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiters: list[asyncio.Future[Failure | None]] = []
        self.recovering = False


class InvitationError(NotInvitableError):
    """The device refused, or could not be called; `failure` has stage and cause."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Invitations:
    """An async context manager; entered, it takes up what was wanted before a restart."""

    def __init__(
        self,
        store: Store,
        world: Callable[["Invitations"], Surroundings],
        registered: Registered,
        policy: TransportPolicy,
        *,
        utc_now: Callable[[], datetime],
        grace: float | None = None,
    ) -> None:
        """`world` makes what all calls share; `grace`: see `ChannelInvitation`."""
        self._store = store
        self._registered = registered
        self._policy = policy
        self._utc_now = utc_now
        self._grace = grace
        self._make_world = world
        self._world: Surroundings
        self._loop: asyncio.AbstractEventLoop
        self._lines: dict[tuple[DeviceId, ChannelId], Line] = {}
        self._by_device: defaultdict[DeviceId, list[Line]] = defaultdict(list)
        self._by_receiver: dict[int, Line] = {}
        self._changes: deque[StateEvent] = deque()  # bounded by what devices can change: one a line and transition
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: set[ActiveCall] = set()
        self._closing = False
        self._quiet = asyncio.Event()
        """No call is left, and none will be made."""
        self.failures: defaultdict[FailureCause, int] = defaultdict(int)
        """How often calls failed, by cause."""
        self.calls_made = 0

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._world = self._make_world(self)
        async for channel in self._store.channels.load():
            self._add(channel)
        old = [call async for call in self._store.calls.load()]
        for call in old:
            line = self._lines.get((call.device_id, call.channel_id))
            if line is not None:
                line.recovering = True
        self.spawn(self._write_changes())
        self.spawn(self._recover(old))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Ends every call with BYE (bounded), writes what is unwritten. The channels stay wanted."""
        self._closing = True
        if not self._calls:
            self._quiet.set()
        for line in self._lines.values():
            self._stop_timer(line)
        for call in list(self._calls):
            call.handle(Cancelled())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._world.limits.bye + 1.0):
                await self._quiet.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._flush_changes()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that lives no longer than the service."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("invitation task failed", exc_info=error)

    # -- what users ask for -----------------------------------------------------------------------------------------

    async def invite(self, channel: Channel, *, quota: int | None = None) -> None:
        """Invites a channel, and keeps it invited until `cancel`.

        Returns when the device has accepted, or after 3 s with the call still under way; a second caller is refused at
        once. NotFoundError, NotInvitableError, InvitationError if the device refuses, QuotaError.
        """
        line = self._line(channel)
        before = line.machine.status
        if before not in {S.ONLINE, S.TEMPORARY_OFFLINE}:
            raise NotInvitableError(f"channel {channel.channel_id} is {before}")
        if self._registered.flow(channel.device_id) is None:
            raise NotInvitableError(f"device {channel.device_id} is not online")
        self._step(line, C.INVITE)
        waiter: asyncio.Future[Failure | None] = self._loop.create_future()
        line.waiters.append(waiter)
        try:
            await self._want(line, True, quota)
        except BaseException:
            line.waiters.remove(waiter)
            self._step(line, C.FAILED)
            raise
        if line.machine.status is S.INVITING and line.call is None:
            self._call(line)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFUSAL_SHOWN):
                failure = await waiter
                if failure is not None:
                    raise InvitationError(failure)

    async def cancel(self, channel: Channel) -> None:
        """Takes an invitation back. NotFoundError, NotInvitedError if there is none."""
        line = self._line(channel)
        before = line.machine.status
        if before not in {S.INVITING, S.INVITE_SUCCESS, S.TEMPORARY_OFFLINE}:
            raise NotInvitedError(f"channel {channel.channel_id} is {before}")
        self._step(line, C.CANCEL)
        await self._want(line, False, None)
        if line.call is not None:
            line.call.handle(Cancelled())
        elif line.machine.status is S.CANCELING:
            self._step(line, C.ENDED)

    def status(self, device_id: DeviceId, channel_id: ChannelId) -> InvitationStatus | None:
        """Where a channel stands now; None if it is unknown."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None else line.machine.status

    def failure(self, device_id: DeviceId, channel_id: ChannelId) -> str | None:
        """Stage and cause of the last call that failed; None if it did not."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None or line.failure is None else str(line.failure)

    def receiver(self, device_id: DeviceId, channel_id: ChannelId) -> int | None:
        """The relay's receiver of a channel's call, for diagnosis."""
        line = self._lines.get((device_id, channel_id))
        return line.call.receiver.id if line and line.call and line.call.receiver else None

    @property
    def counts(self) -> dict[InvitationStatus, int]:
        """How many channels stand where."""
        counted = dict.fromkeys(InvitationStatus, 0)
        for line in self._lines.values():
            counted[line.machine.status] += 1
        return counted

    # -- what happens -----------------------------------------------------------------------------------------------

    def device_online(self, device_id: DeviceId) -> None:
        """It registered, for the first time, again, or from elsewhere."""
        flow = self._registered.flow(device_id)
        for line in self._by_device.get(device_id, ()):
            if line.call is not None and flow is not None:
                line.call.moved(flow)
            self._step(line, C.DEVICE_ONLINE)

    def device_offline(self, device_id: DeviceId) -> None:
        """It unregistered, fell silent, or lost its connection."""
        for line in self._by_device.get(device_id, ()):
            self._step(line, C.DEVICE_OFFLINE)
            if line.call is not None:
                line.call.handle(DeviceGone())

    def catalogue_changed(self, change: CatalogueChange) -> None:
        """A catalogue brought new channels, or turned some on or off. While video flows, an OFF is not believed."""
        for channel in change.added:
            self._add(channel)
        for channel in (*change.turned_on, *change.turned_off):
            line = self._lines.get((channel.device_id, channel.channel_id))
            if line is None:
                self._add(channel)
                continue
            line.channel = replace(channel, status=line.machine.status)
            online = channel.reported_on and self._registered.flow(channel.device_id) is not None
            if line.machine.status in {S.UNREGISTERED, S.ONLINE, S.OFFLINE}:
                self._step(line, C.DEVICE_ONLINE if online else C.DEVICE_OFFLINE)

    def device_deleted(self, device_id: DeviceId) -> None:
        """It is no more: its calls are ended, its channels forgotten."""
        for line in self._by_device.pop(device_id, []):
            del self._lines[line.channel.device_id, line.channel.channel_id]
            self._stop_timer(line)
            if line.call is not None:
                line.call.handle(Cancelled())

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay."""
        line = self._by_receiver.get(event.receiver)
        if line is not None and line.call is not None:
            line.call.handle_media(event)

    # -- one line ---------------------------------------------------------------------------------------------------

    def _line(self, channel: Channel) -> Line:
        """The line of a channel, with its settings as they are now."""
        try:
            line = self._lines[channel.device_id, channel.channel_id]
        except KeyError:
            raise NotFoundError("channel", channel.channel_id) from None
        line.channel = channel
        return line

    def _add(self, channel: Channel) -> None:
        online = self._registered.flow(channel.device_id) is not None and channel.reported_on
        status = channel.status
        if channel.wanted:
            status = S.TEMPORARY_OFFLINE  # its call did not outlive us
        elif status is not S.UNREGISTERED:
            status = S.ONLINE if online else S.OFFLINE
        machine = ChannelInvitation(status, device_online=online, grace=self._grace)
        line = Line(channel, machine)
        known = self._lines.get((channel.device_id, channel.channel_id))
        if known is not None:
            return
        self._lines[channel.device_id, channel.channel_id] = line
        self._by_device[channel.device_id].append(line)
        if status is not channel.status:
            self._record(line, channel.status, status, C.RESTART, "")

    def _step(self, line: Line, cause: StateCause, detail: str = "") -> None:
        """Moves the status, keeps the history, and does what a change asks for."""
        now = self._loop.time()
        try:
            line.machine.handle(now, cause)
        except IllegalTransitionError as error:
            log.warning("invitation", channel=line.channel.channel_id, device=line.channel.device_id, error=str(error))
            return
        self._follow(line, detail)

    def _follow(self, line: Line, detail: str = "") -> None:
        while (change := line.machine.poll_change()) is not None:
            self._record(line, change.before, change.after, change.cause, detail)
            if change.cause is C.RETRY:
                self._call(line)
            elif change.cause is C.GIVEN_UP:
                self.spawn(self._want(line, False, None))
        self._arm(line)

    def _arm(self, line: Line) -> None:
        self._stop_timer(line)
        due = line.machine.next_timeout()
        if due is not None and not line.recovering and not self._closing:
            line.timer = self._loop.call_at(due, self._time_passed, line)

    def _stop_timer(self, line: Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None

    def _time_passed(self, line: Line) -> None:
        line.timer = None
        if line.call is not None:  # the lost call is still saying goodbye
            line.timer = self._loop.call_later(0.2, self._time_passed, line)
            return
        line.machine.handle_timeout(self._loop.time())
        self._follow(line)

    def _call(self, line: Line) -> None:
        flow = self._registered.flow(line.channel.device_id)
        if flow is None:
            self._step(line, C.DEVICE_OFFLINE)
            return
        channel = line.channel
        target = Target(channel.device_id, channel.channel_id, channel.app, channel.stream_name, channel.private)
        call = ActiveCall(
            self._world,
            target,
            flow,
            self._policy.attempts(channel.tcp_priority),
            on_opened=lambda receiver: self._receiver_opened(receiver, line),
            on_closed=self._receiver_closed,
            on_answered=lambda call: self._answered(line, call),
            on_flowing=lambda call: self._flowing(line, call),
            on_over=lambda call, failure: self._over(line, call, failure),
        )
        line.call = call
        self._calls.add(call)
        self.calls_made += 1
        call.start()

    def _receiver_opened(self, receiver: int, line: Line) -> None:
        self._by_receiver[receiver] = line

    def _receiver_closed(self, receiver: int) -> None:
        self._by_receiver.pop(receiver, None)

    def _answered(self, line: Line, call: ActiveCall) -> None:
        for waiter in line.waiters:
            if not waiter.done():
                waiter.set_result(None)
        line.waiters.clear()
        assert call.sip is not None and call.receiver is not None and call.ssrc is not None
        saved = SavedCall(
            call_id=call.sip.call_id,
            device_id=line.channel.device_id,
            channel_id=line.channel.channel_id,
            dialog=call.sip.snapshot(),
            ssrc=call.ssrc,
            media_port=call.receiver.port,
            media_transport=call.attempt.transport,
            started_at=self._utc_now(),
        )
        call.saved = saved.call_id
        self.spawn(self._store.calls.save(saved))

    def _flowing(self, line: Line, call: ActiveCall) -> None:
        line.failure = None
        self._step(line, C.MEDIA, call.attempt.transport)
        if call.attempt.transport is not MediaTransport.UDP and not line.channel.tcp_support:
            line.channel = replace(line.channel, tcp_support=True)
            self.spawn(self._store.channels.set_tcp_support(line.channel.device_id, line.channel.channel_id, True))

    def _over(self, line: Line, call: ActiveCall, failure: Failure) -> None:
        line.call = None
        self._calls.discard(call)
        if call.saved is not None:
            self.spawn(self._store.calls.delete(call.saved))
        if failure.cause is not FailureCause.CANCELLED:
            line.failure = failure
            self.failures[failure.cause] += 1
            log.warning(
                "call failed",
                device=line.channel.device_id,
                channel=line.channel.channel_id,
                stage=failure.stage,
                cause=failure.cause,
                status=failure.status,
                detail=failure.detail,
            )
        for waiter in line.waiters:
            if not waiter.done():
                waiter.set_result(failure)
        line.waiters.clear()
        if self._closing:
            if not self._calls:
                self._quiet.set()
            return
        match line.machine.status:
            case S.CANCELING:
                self._step(line, C.ENDED)
            case S.INVITE_SUCCESS:
                self._step(
                    line, C.DEVICE_BYE if failure.cause is FailureCause.DEVICE_BYE else C.MEDIA_LOST, str(failure)
                )
            case S.INVITING if line.machine.retries:
                self._step(line, C.MEDIA_LOST, str(failure))
            case S.INVITING:
                self._step(line, C.FAILED, str(failure))
                self.spawn(self._want(line, False, None))
            case _:
                self._arm(line)

    async def _want(self, line: Line, wanted: bool, quota: int | None) -> None:
        channel = line.channel
        line.channel = replace(channel, wanted=wanted)
        with contextlib.suppress(NotFoundError):  # deleted meanwhile
            await self._store.channels.set_wanted(
                channel.device_id, channel.channel_id, wanted, at=self._utc_now(), quota=quota
            )

    # -- restart ----------------------------------------------------------------------------------------------------

    async def _recover(self, calls: Sequence[SavedCall]) -> None:
        """Ends the dialogs of the process before us, so that no device streams to a closed port, then calls again."""
        turn = asyncio.Semaphore(ENDINGS_AT_ONCE)

        async def end(saved: SavedCall) -> None:
            async with turn:
                await self._end_old(saved)

        await asyncio.gather(*map(end, calls))
        for line in list(self._lines.values()):
            if line.machine.status is S.TEMPORARY_OFFLINE and line.call is None:
                line.recovering = False
                online = self._registered.flow(line.channel.device_id) is not None
                self._step(line, C.DEVICE_ONLINE if online else C.DEVICE_OFFLINE)

    async def _end_old(self, saved: SavedCall) -> None:
        flow = self._registered.flow(saved.device_id)
        try:
            if flow is not None:
                await self._world.endpoint.restore_call(saved.dialog, flow).bye("restarted", self._world.limits.bye)
        except (SipError, KeyError, TypeError, ValueError) as error:
            log.warning("old call not ended", device=saved.device_id, channel=saved.channel_id, error=str(error))
        await self._store.calls.delete(saved.call_id)

    # -- history ----------------------------------------------------------------------------------------------------

    def _record(
        self, line: Line, before: InvitationStatus, after: InvitationStatus, cause: StateCause, detail: str
    ) -> None:
        channel = line.channel
        self._changes.append(
            StateEvent(
                at=self._utc_now(),
                project_id=channel.project_id,
                device_id=channel.device_id,
                channel_id=channel.channel_id,
                before=before,
                after=after,
                cause=cause,
                detail=detail,
            )
        )
        self._changed.set()

    async def _write_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._flush_changes()

    async def _flush_changes(self) -> None:
        events = list(_take(self._changes))
        if events:
            await self._store.channels.set_status(events)


def _take(queue: deque[StateEvent]) -> Iterator[StateEvent]:
    while queue:
        yield queue.popleft()
