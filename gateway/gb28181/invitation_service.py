"""Channels are invited, kept, retried and cancelled: the status machine of each, its call, the store and the relay.

The status that the API shows lives here in memory and is written behind in order. Whether somebody wants a channel is
durable before the caller is answered; each confirmed dialog is kept, so that after a crash it is ended and made anew.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

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
from gateway.errors import GatewayError, IllegalTransitionError, NotFoundError
from gateway.gb28181.active_call import ActiveCall, MediaEvent, Surroundings, Target
from gateway.gb28181.call import Cancelled, DeviceGone, Failure, FailureCause, MediaLost
from gateway.gb28181.call_view import CallTrace, CallView
from gateway.gb28181.directory import Directory
from gateway.gb28181.notices import CatalogueChanged, DeviceForgotten, DeviceOffline, DeviceOnline, Notice
from gateway.gb28181.offer import TransportPolicy
from gateway.gb28181.old_calls import end_old_calls
from gateway.gb28181.state_writer import StateWriter
from gateway.store import Store
from gateway.streams.live import ReceivedStream
from sip.flow import Flow

log = structlog.get_logger(__name__)

S = InvitationStatus
C = StateCause

REFUSAL_SHOWN: Final = 3.0
"""Seconds that `invite` waits for the device's answer before it leaves the rest to the background."""


class Line:
    """One channel: its status machine, its call, and what came of the last one."""

    __slots__ = ("call", "channel", "failed_at", "failure", "last", "machine", "recovering", "timer", "waiters")

    def __init__(self, channel: Channel, machine: ChannelInvitation) -> None:
        self.channel = channel
        self.machine = machine
        self.call: ActiveCall | None = None
        self.failure: Failure | None = None
        self.failed_at: datetime | None = None
        self.last: CallTrace | None = None
        """The last call as it was when its receiver closed."""
        self.timer: asyncio.TimerHandle | None = None
        self.waiters: list[asyncio.Future[Failure | None]] = []
        self.recovering = channel.wanted
        """Its old call, if it has one, must be ended before it is called again."""


class InvitationError(GatewayError):
    """The device refused, or could not be called; `failure` has stage and cause."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Invitations:
    """`load` before devices are taken up, so that their notices find their channels; `recover` once the endpoint
    listens; `close` while it still does.

    `world` makes what all calls share; `grace`: see `ChannelInvitation`; `snapshot(app, name)` is what the relay
    sees of a stream, kept when a call ends so that its failure can be explained.
    """

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        states: StateWriter,
        world: Callable[["Invitations"], Surroundings],
        policy: TransportPolicy,
        clock: Callable[[], datetime],
        grace: float | None = None,
        snapshot: Callable[[str, str], ReceivedStream | None] = lambda _app, _name: None,
    ) -> None:
        self._snapshot = snapshot
        self._store = store
        self._directory = directory
        self._states = states
        self._policy = policy
        self._clock = clock
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._world = world(self)
        self._lines: dict[tuple[DeviceId, ChannelId], Line] = {}
        self._by_device: defaultdict[DeviceId, list[Line]] = defaultdict(list)
        self._by_receiver: dict[int, Line] = {}
        self._calls: set[ActiveCall] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._collected: list[StateEvent] | None = None
        self._closing = False
        self._quiet = asyncio.Event()
        """No call is left, and none will be made."""
        self.failures: defaultdict[FailureCause, int] = defaultdict(int)
        """How often calls failed, by cause."""
        self.calls_made = 0

    # -- life -----------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Reads all channels. Those that were wanted are lost for now: their calls did not outlive us."""
        async for channel in self._store.channels.load():
            self._add(channel)

    async def recover(self) -> None:
        """Ends the dialogs of the process before us, so that no device streams to a closed port, then calls again."""
        await end_old_calls(self._store, self._world.endpoint, self._directory, self._world.limits.bye)
        for line in list(self._lines.values()):
            line.recovering = False
            if line.machine.status is S.TEMPORARY_OFFLINE:
                self._arm(line)

    async def close(self) -> None:
        """Ends every call with BYE, within a bound. The channels stay wanted."""
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
                await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        if self._flow(channel.device_id) is None:
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
        """Takes an invitation back. NotFoundError, NotInvitedError if there is none.

        UnavailableError if that could not be written: the call ends all the same, but would be made anew after a
        restart.
        """
        line = self._line(channel)
        before = line.machine.status
        if before not in {S.INVITING, S.INVITE_SUCCESS, S.TEMPORARY_OFFLINE}:
            raise NotInvitedError(f"channel {channel.channel_id} is {before}")
        self._step(line, C.CANCEL)
        try:
            await self._want(line, False, None)
        finally:  # nothing else would ever end what is being cancelled
            if line.machine.status is S.CANCELING:
                self._end(line)

    def _end(self, line: Line) -> None:
        if line.call is not None:
            line.call.handle(Cancelled())
        else:
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

    def look(self, device_id: DeviceId, channel_id: ChannelId) -> CallView | None:
        """All that is known of a channel's calls; None if the channel is unknown."""
        line = self._lines.get((device_id, channel_id))
        if line is None:
            return None
        return CallView(
            status=line.machine.status,
            receiver=self.receiver(device_id, channel_id),
            current=None if line.call is None else self._trace(line, line.call),
            last=line.last if line.failure is not None else None,
            failure=line.failure,
            failed_at=line.failed_at,
        )

    def _trace(self, line: Line, call: ActiveCall) -> CallTrace:
        return CallTrace(
            transport=call.attempt.transport,
            ssrc=call.ssrc,
            port=call.receiver.port if call.receiver is not None else 0,
            call_id=call.sip.call_id if call.sip is not None else None,
            state=call.state,
            media=self._snapshot(line.channel.app, line.channel.stream_name),
        )

    @property
    def counts(self) -> dict[InvitationStatus, int]:
        """How many channels stand where."""
        counted = dict.fromkeys(InvitationStatus, 0)
        for line in self._lines.values():
            counted[line.machine.status] += 1
        return counted

    # -- what happens -----------------------------------------------------------------------------------------------

    def handle_notice(self, notice: Notice) -> Sequence[StateEvent]:
        """What became of a device; gives the changes of its channels, which the teller writes with the device's own."""
        self._collected = []
        try:
            match notice:
                case DeviceOnline():
                    self._device_online(notice)
                case DeviceOffline(device_id):
                    self._device_offline(device_id)
                case DeviceForgotten(device_id):
                    self._device_forgotten(device_id)
                case CatalogueChanged(_, change):
                    self._catalogue_changed(change)
                case _:
                    pass
            return self._collected
        finally:
            self._collected = None

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay."""
        line = self._by_receiver.get(event.receiver)
        if line is None or line.call is None:
            return
        if event.kind == "no_viewers" and line.machine.status is S.INVITE_SUCCESS:
            log.info("nobody watches", device=line.channel.device_id, channel=line.channel.channel_id)
            self.spawn(self.cancel(line.channel))
        else:
            line.call.handle_media(event)

    def _device_online(self, notice: DeviceOnline) -> None:
        flow = self._flow(notice.device_id)
        refresh = notice.was_online and notice.cause is C.REGISTER and not notice.restarted
        for line in self._by_device.get(notice.device_id, ()):
            if line.call is not None and flow is not None:
                line.call.moved(flow)
                if notice.restarted:
                    line.call.handle(MediaLost("the device was restarted"))
            if line.channel.reported_on and not refresh:
                self._step(line, C.DEVICE_ONLINE)

    def _device_offline(self, device_id: DeviceId) -> None:
        for line in self._by_device.get(device_id, ()):
            self._step(line, C.DEVICE_OFFLINE)
            if line.call is not None:
                line.call.handle(DeviceGone())

    def _device_forgotten(self, device_id: DeviceId) -> None:
        for line in self._by_device.pop(device_id, []):
            del self._lines[line.channel.device_id, line.channel.channel_id]
            self._stop_timer(line)
            if line.call is not None:
                line.call.handle(Cancelled())

    def _catalogue_changed(self, change: CatalogueChange) -> None:
        """New channels, or some turned on or off. While video flows, an OFF is not believed: some are wrong."""
        for channel in change.added:
            self._add(channel)
        for channel in (*change.turned_on, *change.turned_off):
            line = self._lines.get((channel.device_id, channel.channel_id))
            if line is None:
                self._add(channel)
                continue
            line.channel = channel
            online = channel.reported_on and self._flow(channel.device_id) is not None
            if line.machine.status in {S.UNREGISTERED, S.ONLINE, S.OFFLINE}:
                self._step(line, C.DEVICE_ONLINE if online else C.DEVICE_OFFLINE, "as the catalogue says")

    # -- one line ---------------------------------------------------------------------------------------------------

    def _line(self, channel: Channel) -> Line:
        """The line of a channel, with its settings as they are now."""
        try:
            line = self._lines[channel.device_id, channel.channel_id]
        except KeyError:
            raise NotFoundError("channel", channel.channel_id) from None
        line.channel = channel
        return line

    def _flow(self, device_id: DeviceId) -> Flow | None:
        device = self._directory.get(device_id)
        return device.flow if device is not None and device.online else None

    def _add(self, channel: Channel) -> None:
        key = channel.device_id, channel.channel_id
        if key in self._lines:
            return
        status = channel.status
        if channel.wanted:
            status = S.TEMPORARY_OFFLINE
        elif status not in {S.UNREGISTERED, S.ONLINE}:
            status = S.OFFLINE
        machine = ChannelInvitation(status, device_online=status is S.ONLINE, grace=self._grace)
        line = self._lines[key] = Line(channel, machine)
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
        flow = self._flow(line.channel.device_id)
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
        line = self._by_receiver.pop(receiver, None)
        if line is not None and line.call is not None:
            line.last = self._trace(line, line.call)

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
            started_at=self._clock(),
        )
        call.saved = saved.call_id
        call.saving = self.spawn(self._store.calls.save(saved))

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
            self.spawn(self._forget(call.saved, call.saving))
        if failure.cause is not FailureCause.CANCELLED:
            line.failure, line.failed_at = failure, self._clock()
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
            case S.INVITING if line.machine.retrying:
                self._step(line, C.MEDIA_LOST, str(failure))
            case S.INVITING:
                self._step(line, C.FAILED, str(failure))
                self.spawn(self._want(line, False, None))
            case _:
                self._arm(line)

    async def _forget(self, call_id: str, saving: asyncio.Task[None] | None) -> None:
        """The store keeps no order between the two."""
        if saving is not None:
            await asyncio.wait([saving])
        await self._store.calls.delete(call_id)

    async def _want(self, line: Line, wanted: bool, quota: int | None) -> None:
        channel = line.channel
        line.channel = replace(channel, wanted=wanted)
        with contextlib.suppress(NotFoundError):  # deleted meanwhile
            await self._store.channels.set_wanted(
                channel.device_id, channel.channel_id, wanted, at=self._clock(), quota=quota
            )

    def _record(
        self, line: Line, before: InvitationStatus, after: InvitationStatus, cause: StateCause, detail: str
    ) -> None:
        """Into the history; in order for each device (`StateWriter`)."""
        channel = line.channel
        event = StateEvent(
            at=self._clock(),
            project_id=channel.project_id,
            device_id=channel.device_id,
            channel_id=channel.channel_id,
            before=before,
            after=after,
            cause=cause,
            detail=detail[:255],
        )
        if self._collected is None:
            self._states.put(channel.device_id, None, [event])
        else:
            self._collected.append(event)
