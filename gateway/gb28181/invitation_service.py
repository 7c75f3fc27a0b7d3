"""Channels are invited, kept, retried and cancelled, each on a line of its own (`channel_line`).

The status that the API shows lives here in memory and is written behind in order. Whether somebody wants a channel is
durable before the caller is answered; each confirmed dialog is kept, so that after a crash it is ended and made anew.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from gateway.access.errors import StrategyActiveError
from gateway.devices.errors import NotInvitableError, NotInvitedError
from gateway.devices.invitation import ChannelInvitation
from gateway.devices.model import (
    CatalogueChange,
    Channel,
    ChannelId,
    DeviceId,
    InvitationStatus,
    StateCause,
    StateEvent,
)
from gateway.errors import GatewayError, NotFoundError
from gateway.gb28181.active_call import Surroundings
from gateway.gb28181.call import DeviceGone, Failure, FailureCause, MediaLost
from gateway.gb28181.call_view import CallView
from gateway.gb28181.channel_line import CallBook, ChannelLine, PacketWitness, Switchboard
from gateway.gb28181.directory import Directory
from gateway.gb28181.notices import (
    CatalogueChanged,
    ChannelForgotten,
    DeviceForgotten,
    DeviceOffline,
    DeviceOnline,
    Notice,
)
from gateway.gb28181.offer import TransportPolicy
from gateway.gb28181.old_calls import end_old_calls
from gateway.gb28181.state_writer import StateWriter
from gateway.media_event import MediaEvent
from gateway.store import Store
from gateway.streams.live import ReceivedStream
from sip.flow import Flow

log = structlog.get_logger(__name__)

S = InvitationStatus
C = StateCause

REFUSAL_SHOWN: Final = 3.0
"""Seconds that `invite` waits for the device's answer before it leaves the rest to the background."""


class InvitationError(GatewayError):
    """The device refused, or could not be called; `failure` has stage and cause."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Invitations:
    """`load` before devices are taken up, so that their notices find their channels; `recover` once the endpoint
    listens; `close` while it still does.

    `world` makes what all calls share; `grace`: see `ChannelInvitation`; `snapshot(app, name)` is what the relay
    sees of a stream, kept when a call ends so that its failure can be explained; `count` is told of every receiver.
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
        count: PacketWitness,
        grace: float | None = None,
        snapshot: Callable[[str, str], ReceivedStream | None] = lambda _app, _name: None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._states = states
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._world = world(self)
        self._book = CallBook()
        self._board = Switchboard(
            store=store,
            world=self._world,
            policy=policy,
            book=self._book,
            clock=clock,
            flow=self._flow,
            snapshot=snapshot,
            record=self._record,
            spawn=self.spawn,
            count=count,
        )
        self._lines: dict[tuple[DeviceId, ChannelId], ChannelLine] = {}
        self._by_device: defaultdict[DeviceId, list[ChannelLine]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        self._collected: list[StateEvent] | None = None
        self._watchers: list[Callable[[StateEvent], None]] = []

    def watch(self, watcher: Callable[[StateEvent], None]) -> None:
        """From now on tells `watcher` every change of a channel's status, at once; it must not wait nor fail."""
        self._watchers.append(watcher)

    # -- life -----------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Reads all channels. Those that were wanted are lost for now: their calls did not outlive us."""
        async for channel in self._store.channels.load():
            self._add(channel)

    async def recover(self) -> None:
        """Ends the dialogs of the process before us, so that no device streams to a closed port, then calls again."""
        await end_old_calls(self._store, self._world.endpoint, self._directory, self._world.limits.bye)
        for line in list(self._lines.values()):
            line.recovered()

    async def close(self) -> None:
        """Ends every call with BYE, within a bound. The channels stay wanted."""
        self._book.close()
        for line in self._lines.values():
            line.stop_timer()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._world.limits.bye + 1.0):
                await self._book.quiet.wait()
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

    async def invite(self, channel: Channel, *, quota: int | None = None, by_strategy: bool = False) -> None:
        """Invites a channel, and keeps it invited until `cancel`.

        Returns when the device has accepted, or after 3 s with the call still under way; a second caller is refused at
        once. NotFoundError, NotInvitableError, InvitationError if the device refuses, QuotaError, StrategyActiveError
        if the channel's access strategy or record plan decides and it is not the caller.
        """
        line = self._line(channel, by_strategy=by_strategy)
        if line.status not in {S.ONLINE, S.TEMPORARY_OFFLINE}:
            raise NotInvitableError(f"channel {channel.channel_id} is {line.status}")
        if self._flow(channel.device_id) is None:
            raise NotInvitableError(f"device {channel.device_id} is not online")
        line.step(C.INVITE)
        try:
            await line.want(True, quota)
        except BaseException:
            line.step(C.FAILED)
            raise
        answer = line.wait()
        line.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFUSAL_SHOWN):
                failure = await answer
                if failure is not None:
                    raise InvitationError(failure)

    async def cancel(self, channel: Channel, *, by_strategy: bool = False) -> None:
        """Takes an invitation back. NotFoundError, NotInvitedError if there is none, StrategyActiveError as `invite`.

        UnavailableError if that could not be written: the call ends all the same, but would be made anew after a
        restart.
        """
        line = self._line(channel, by_strategy=by_strategy)
        if line.status not in {S.INVITING, S.INVITE_SUCCESS, S.TEMPORARY_OFFLINE}:
            raise NotInvitedError(f"channel {channel.channel_id} is {line.status}")
        line.step(C.CANCEL)
        try:
            await line.want(False)
        finally:  # nothing else would ever end what is being cancelled
            line.end()

    def hold(self, device_id: DeviceId, channel_id: ChannelId, held: bool) -> None:
        """From now on a channel's access strategy alone invites and cancels it, or does not any more."""
        line = self._lines.get((device_id, channel_id))
        if line is not None:
            line.held = held

    def keep(self, device_id: DeviceId, channel_id: ChannelId, kept: bool) -> None:
        """From now on a channel's record plan wants it, and nobody else may cancel it, or does not any more."""
        line = self._lines.get((device_id, channel_id))
        if line is not None:
            line.kept = kept

    def known(self, device_id: DeviceId, channel_id: ChannelId) -> Channel | None:
        """A channel with its settings as they were known last."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None else line.channel

    def renew(self, channel: Channel) -> None:
        """Takes up a channel's settings as they are now; they count from its next call."""
        line = self._lines.get((channel.device_id, channel.channel_id))
        if line is not None:
            line.channel = channel

    @property
    def held(self) -> Sequence[Channel]:
        """Channels whose access strategy alone decides, as known last."""
        return [line.channel for line in self._lines.values() if line.held]

    def status(self, device_id: DeviceId, channel_id: ChannelId) -> InvitationStatus | None:
        """Where a channel stands now; None if it is unknown."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None else line.status

    def failure(self, device_id: DeviceId, channel_id: ChannelId) -> Failure | None:
        """How the last call failed; None if it did not."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None else line.failure

    def look(self, device_id: DeviceId, channel_id: ChannelId) -> CallView | None:
        """All that is known of a channel's calls; None if the channel is unknown."""
        line = self._lines.get((device_id, channel_id))
        return None if line is None else line.view()

    @property
    def counts(self) -> dict[InvitationStatus, int]:
        """How many channels stand where."""
        counted = dict.fromkeys(InvitationStatus, 0)
        for line in self._lines.values():
            counted[line.status] += 1
        return counted

    @property
    def failures(self) -> Mapping[FailureCause, int]:
        """How often calls failed, by cause."""
        return self._book.failures

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
                case ChannelForgotten(device_id, channel_id):
                    self._channel_forgotten(device_id, channel_id)
                case CatalogueChanged(_, change):
                    self._catalogue_changed(change)
                case _:
                    pass
            return self._collected
        finally:
            self._collected = None

    def handle_media(self, event: MediaEvent) -> None:
        """An event of the relay."""
        line = self._book.by_receiver.get(event.receiver)
        if line is None or line.call is None:
            return
        if event.kind == "no_viewers" and (line.held or line.kept):
            return  # it flows to be kept, not to be watched
        if event.kind == "no_viewers" and line.status is S.INVITE_SUCCESS:
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
                line.step(C.DEVICE_ONLINE)

    def _device_offline(self, device_id: DeviceId) -> None:
        for line in self._by_device.get(device_id, ()):
            line.step(C.DEVICE_OFFLINE)
            if line.call is not None:
                line.call.handle(DeviceGone())

    def _device_forgotten(self, device_id: DeviceId) -> None:
        for line in self._by_device.pop(device_id, []):
            del self._lines[line.channel.device_id, line.channel.channel_id]
            line.drop()

    def _channel_forgotten(self, device_id: DeviceId, channel_id: ChannelId) -> None:
        line = self._lines.pop((device_id, channel_id), None)
        if line is not None:
            self._by_device[device_id].remove(line)
            line.drop()

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
            if line.status in {S.UNREGISTERED, S.ONLINE, S.OFFLINE}:
                line.step(C.DEVICE_ONLINE if online else C.DEVICE_OFFLINE, "as the catalogue says")

    # -- the lines --------------------------------------------------------------------------------------------------

    def _line(self, channel: Channel, *, by_strategy: bool) -> ChannelLine:
        """The line of a channel, with its settings as they are now; NotFoundError, StrategyActiveError."""
        try:
            line = self._lines[channel.device_id, channel.channel_id]
        except KeyError:
            raise NotFoundError("channel", channel.channel_id) from None
        if line.held and not by_strategy:
            raise StrategyActiveError(f"the access strategy of channel {channel.channel_id} is active: it decides")
        if line.kept and not by_strategy:
            raise StrategyActiveError(f"channel {channel.channel_id} is being recorded by its plan, which decides")
        line.channel = channel
        return line

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
        line = self._lines[key] = ChannelLine(channel, machine, self._board)
        self._by_device[channel.device_id].append(line)
        if status is not channel.status:
            line.record(channel.status, status, C.RESTART)

    def _flow(self, device_id: DeviceId) -> Flow | None:
        device = self._directory.get(device_id)
        return device.flow if device is not None and device.online else None

    def _record(self, event: StateEvent) -> None:
        """Into the history; in order for each device (`StateWriter`)."""
        if self._collected is None:
            self._states.put(event.device_id, None, [event])
        else:
            self._collected.append(event)
        for watcher in self._watchers:
            watcher(event)
