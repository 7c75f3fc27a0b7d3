"""One channel that can be invited: its status machine, its call, its retries, and those who wait for an answer.

`gateway.devices.invitation` says where the channel stands and when to try again; this does it, with a call at a time.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from gateway.devices.invitation import ChannelInvitation
from gateway.devices.model import (
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
from gateway.gb28181.active_call import ActiveCall, Surroundings, Target
from gateway.gb28181.call import Cancelled, Failure, FailureCause
from gateway.gb28181.call_view import CallTrace, CallView
from gateway.gb28181.offer import TransportPolicy
from gateway.store import Store
from gateway.streams.live import ReceivedStream
from sip.flow import Flow

log = structlog.get_logger(__name__)

S = InvitationStatus
C = StateCause


class PacketWitness(Protocol):
    """Who counts the packets of calls (`gateway.statistics.packet_counter`)."""

    def opened(self, receiver: int, device_id: DeviceId, channel_id: ChannelId) -> None:
        """A call opened a receiver of the relay."""

    def closed(self, receiver: int, last: ReceivedStream | None) -> None:
        """A call closes its receiver, which showed this last."""


class CallBook:
    """All calls under way, and what is counted of those that were."""

    def __init__(self) -> None:
        self.calls: set[ActiveCall] = set()
        self.by_receiver: dict[int, ChannelLine] = {}
        self.made = 0
        self.failures: defaultdict[FailureCause, int] = defaultdict(int)
        self.closing = False
        """No further call is made."""
        self.quiet = asyncio.Event()
        """No call is left, and none will be made."""

    def close(self) -> None:
        """Ends every call; `quiet` tells when they are over."""
        self.closing = True
        for call in list(self.calls):
            call.handle(Cancelled())
        self._look()

    def began(self, call: ActiveCall) -> None:
        """A call is being made."""
        self.calls.add(call)
        self.made += 1

    def ended(self, call: ActiveCall) -> None:
        """A call holds nothing any more."""
        self.calls.discard(call)
        self._look()

    def _look(self) -> None:
        if self.closing and not self.calls:
            self.quiet.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchboard:
    """What all lines share.

    `flow(device_id)` is the way to a device that is online; `snapshot(app, name)` what the relay sees of a stream;
    `record` takes changes for the history; `spawn` starts a task that lives no longer than the service; `count` is told
    of each receiver when it is opened, and with what it showed last when it is closed.
    """

    store: Store
    world: Surroundings
    policy: TransportPolicy
    book: CallBook
    clock: Callable[[], datetime]
    flow: Callable[[DeviceId], Flow | None]
    snapshot: Callable[[str, str], ReceivedStream | None]
    record: Callable[[StateEvent], None]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    count: PacketWitness


class ChannelLine:
    """One channel. `channel` are its settings as known last."""

    __slots__ = (
        "_board", "_failed_at", "_last", "_loop", "_timer", "_waiters",
        "call", "channel", "failure", "held", "kept", "machine", "recovering",
    )  # fmt: skip

    def __init__(self, channel: Channel, machine: ChannelInvitation, board: Switchboard) -> None:
        self.channel = channel
        self.machine = machine
        self.call: ActiveCall | None = None
        self.failure: Failure | None = None
        self.held = channel.strategy is not None and channel.strategy.active
        """Its access strategy is active: it alone invites and cancels."""
        self.kept = False
        """Its record plan wants it now: it alone invites and cancels."""
        self.recovering = channel.wanted
        """Its old call, if it has one, must be ended before it is called again."""
        self._board = board
        self._loop = asyncio.get_running_loop()
        self._failed_at: datetime | None = None
        self._last: CallTrace | None = None
        """The last call as it was when its receiver closed."""
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[Failure | None]] = []

    @property
    def status(self) -> InvitationStatus:
        """Where the channel stands."""
        return self.machine.status

    # -- told from outside ------------------------------------------------------------------------------------------

    def step(self, cause: StateCause, detail: str = "") -> None:
        """Moves the status, keeps the history, and does what a change asks for."""
        try:
            self.machine.handle(self._loop.time(), cause)
        except IllegalTransitionError as error:
            log.warning("invitation", channel=self.channel.channel_id, device=self.channel.device_id, error=str(error))
            return
        self._follow(detail)

    def start(self) -> None:
        """Calls the device, unless a call is under way already."""
        if self.status is S.INVITING and self.call is None:
            self._make_call()

    def end(self) -> None:
        """Ends what is being cancelled."""
        if self.call is not None:
            self.call.handle(Cancelled())
        elif self.status is S.CANCELING:
            self.step(C.ENDED)

    def drop(self) -> None:
        """The channel is no more."""
        self.stop_timer()
        if self.call is not None:
            self.call.handle(Cancelled())

    def recovered(self) -> None:
        """What was left of an old call is gone: it may be called again."""
        self.recovering = False
        if self.status is S.TEMPORARY_OFFLINE:
            self._arm()

    async def want(self, wanted: bool, quota: int | None = None) -> None:
        """Makes durable whether somebody wants the video; QuotaError, UnavailableError."""
        channel = self.channel
        self.channel = replace(channel, wanted=wanted)
        with contextlib.suppress(NotFoundError):  # deleted meanwhile
            await self._board.store.channels.set_wanted(
                channel.device_id, channel.channel_id, wanted, at=self._board.clock(), quota=quota
            )

    def wait(self) -> asyncio.Future[Failure | None]:
        """Resolves when the device accepts (None) or the call fails."""
        waiter: asyncio.Future[Failure | None] = self._loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def stop_timer(self) -> None:
        """No retry will come of itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def view(self) -> CallView:
        """All that is known of its calls."""
        call = self.call
        return CallView(
            status=self.status,
            receiver=call.receiver.id if call is not None and call.receiver is not None else None,
            current=None if call is None else self._trace(call),
            last=self._last if self.failure is not None else None,
            failure=self.failure,
            failed_at=self._failed_at,
        )

    # -- time -------------------------------------------------------------------------------------------------------

    def _follow(self, detail: str = "") -> None:
        while (change := self.machine.poll_change()) is not None:
            self.record(change.before, change.after, change.cause, detail)
            if change.cause is C.RETRY:
                self._make_call()
            elif change.cause is C.GIVEN_UP:
                self._board.spawn(self.want(False))
        self._arm()

    def _arm(self) -> None:
        self.stop_timer()
        due = self.machine.next_timeout()
        if due is not None and not self.recovering and not self._board.book.closing:
            self._timer = self._loop.call_at(due, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        if self.call is not None:  # the lost call is still saying goodbye
            self._timer = self._loop.call_later(0.2, self._time_passed)
            return
        self.machine.handle_timeout(self._loop.time())
        self._follow()

    # -- the call ---------------------------------------------------------------------------------------------------

    def _make_call(self) -> None:
        channel, board = self.channel, self._board
        flow = board.flow(channel.device_id)
        if flow is None:
            self.step(C.DEVICE_OFFLINE)
            return
        self.call = ActiveCall(
            board.world,
            Target(
                channel.device_id,
                channel.channel_id,
                channel.app,
                channel.stream_name,
                channel.private,
                channel.generation,
            ),
            flow,
            board.policy.attempts(channel.tcp_priority),
            on_opened=self._receiver_opened,
            on_closed=self._receiver_closed,
            on_answered=self._answered,
            on_flowing=self._flowing,
            on_over=self._over,
        )
        board.book.began(self.call)
        self.call.start()

    def _receiver_opened(self, receiver: int) -> None:
        self._board.book.by_receiver[receiver] = self
        self._board.count.opened(receiver, self.channel.device_id, self.channel.channel_id)

    def _receiver_closed(self, receiver: int) -> None:
        self._board.book.by_receiver.pop(receiver, None)
        if self.call is not None:
            self._last = self._trace(self.call)
        self._board.count.closed(receiver, None if self._last is None else self._last.media)

    def _answered(self, call: ActiveCall) -> None:
        self._tell_waiters(None)
        assert call.sip is not None and call.receiver is not None and call.ssrc is not None
        saved = SavedCall(
            call_id=call.sip.call_id,
            device_id=self.channel.device_id,
            channel_id=self.channel.channel_id,
            dialog=call.sip.snapshot(),
            ssrc=call.ssrc,
            media_port=call.receiver.port,
            media_transport=call.attempt.transport,
            started_at=self._board.clock(),
        )
        call.saved = saved.call_id
        call.saving = self._board.spawn(self._board.store.calls.save(saved))

    def _flowing(self, call: ActiveCall) -> None:
        self.failure = None
        self.step(C.MEDIA, call.attempt.transport)
        channel = self.channel
        if call.attempt.transport is not MediaTransport.UDP and not channel.tcp_support:
            self.channel = replace(channel, tcp_support=True)
            self._board.spawn(self._board.store.channels.set_tcp_support(channel.device_id, channel.channel_id, True))

    def _over(self, call: ActiveCall, failure: Failure) -> None:
        self.call = None
        self._board.book.ended(call)
        if call.saved is not None:
            self._board.spawn(self._forget(call.saved, call.saving))
        if failure.cause is not FailureCause.CANCELLED:
            self._note(failure)
        self._tell_waiters(failure)
        if not self._board.book.closing:
            self._after(failure)

    def _after(self, failure: Failure) -> None:
        """What the end of a call means for the channel."""
        match self.status:
            case S.CANCELING:
                self.step(C.ENDED)
            case S.INVITE_SUCCESS:
                bye = failure.cause is FailureCause.DEVICE_BYE
                self.step(C.DEVICE_BYE if bye else C.MEDIA_LOST, str(failure))
            case S.INVITING if self.machine.retrying:
                self.step(C.MEDIA_LOST, str(failure))
            case S.INVITING:
                self.step(C.FAILED, str(failure))
                self._board.spawn(self.want(False))
            case _:
                self._arm()

    def _note(self, failure: Failure) -> None:
        self.failure, self._failed_at = failure, self._board.clock()
        self._board.book.failures[failure.cause] += 1
        log.warning(
            "call failed",
            device=self.channel.device_id,
            channel=self.channel.channel_id,
            stage=failure.stage,
            cause=failure.cause,
            status=failure.status,
            detail=failure.detail,
        )

    def _tell_waiters(self, failure: Failure | None) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(failure)
        self._waiters.clear()

    async def _forget(self, call_id: str, saving: asyncio.Task[None] | None) -> None:
        """The store keeps no order between the two."""
        if saving is not None:
            await asyncio.wait([saving])
        await self._board.store.calls.delete(call_id)

    # -- for people -------------------------------------------------------------------------------------------------

    def record(self, before: InvitationStatus, after: InvitationStatus, cause: StateCause, detail: str = "") -> None:
        """Into the history."""
        channel = self.channel
        self._board.record(
            StateEvent(
                at=self._board.clock(),
                project_id=channel.project_id,
                device_id=channel.device_id,
                channel_id=channel.channel_id,
                before=before,
                after=after,
                cause=cause,
                detail=detail[:255],
            )
        )

    def _trace(self, call: ActiveCall) -> CallTrace:
        return CallTrace(
            transport=call.attempt.transport,
            ssrc=call.ssrc,
            port=call.receiver.port if call.receiver is not None else 0,
            call_id=call.sip.call_id if call.sip is not None else None,
            state=call.state,
            media=self._board.snapshot(self.channel.app, self.channel.stream_name),
        )
