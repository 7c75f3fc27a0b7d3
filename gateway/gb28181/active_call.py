"""One call being made: does what `gateway.gb28181.call` says, with the SIP endpoint and the relay."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from gateway.devices.model import ChannelId, DeviceId, MediaTransport
from gateway.gb28181.call import (
    Answered,
    Attempt,
    BadAnswer,
    ByeReceived,
    Call,
    CallState,
    CloseReceiver,
    Connected,
    ConnectFailed,
    DeviceGone,
    DialogEnded,
    EndDialog,
    Failure,
    Flowing,
    Input,
    Limits,
    MediaLost,
    MediaSeen,
    MediaSilent,
    OpenReceiver,
    Over,
    Playable,
    ReceiverOpened,
    ReceiverRefused,
    Refused,
    SendInvite,
    WrongPayload,
)
from gateway.gb28181.offer import AnswerError, MediaAnswer, live_offer, read_answer, subject
from gateway.gb28181.ssrc import Ssrc, SsrcAllocator
from gateway.media_event import MediaEvent
from media._core import CoreError
from sip import Headers, NameAddr, Request, Response, SipError, Uri
from sip.endpoint import Endpoint
from sip.failures import CallRefusedError
from sip.flow import Flow
from sip.outgoing import CallHandle

SOUND_ALONE: Final = 3.0
"""Seconds of sound without a picture after which a channel counts as one that has only sound."""
DISCARD_PORT: Final = 9
"""What an offer names whose maker connects itself (RFC 4145 §4.1)."""

RelayTransport = Literal["udp", "tcp_passive", "tcp_active"]
RELAY_TRANSPORTS: Final[Mapping[MediaTransport, RelayTransport]] = {
    MediaTransport.UDP: "udp",
    MediaTransport.TCP_PASSIVE: "tcp_passive",
    MediaTransport.TCP_ACTIVE: "tcp_active",
}


class ReceiverHandle(Protocol):
    """A receive port of the relay."""

    @property
    def id(self) -> int: ...
    @property
    def port(self) -> int: ...


class Receivers(Protocol):
    """As much of the relay as a call needs (`media.relay.Relay`)."""

    def open_receiver(
        self,
        app: str,
        name: str,
        *,
        transport: RelayTransport,
        shared: bool,
        ssrc: int | None,
        peer: str | None,
        private: bool,
        generation: int,
    ) -> ReceiverHandle:
        """CoreError if there is no port, or the stream has a receiver."""

    def expect(
        self, receiver: int, *, ssrc: int | None, peer: str | None, payloads: Sequence[tuple[int, str]]
    ) -> None: ...
    def connect(self, receiver: int, host: str, port: int) -> None: ...
    def close_receiver(self, receiver: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call, and under which name the video is served."""

    device_id: DeviceId
    channel_id: ChannelId
    app: str
    stream_name: str
    private: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all calls share.

    `media_address(peer)` is the address at which that peer reaches our media ports; `trusted(registered, address)`
    whether media may be fetched from, or come from, an address that a device names.
    """

    endpoint: Endpoint
    relay: Receivers
    ssrcs: SsrcAllocator
    server_id: str
    domain: str
    limits: Limits
    shared_port: bool
    media_address: Callable[[Flow], str]
    trusted: Callable[[str, str], bool]
    spawn: Callable[[Coroutine[Any, Any, None]], object]


class ActiveCall:
    """Makes one call to `target` over the flow that its device opened.

    `on_opened` and `on_closed` are told of each receiver, `on_answered` of each confirmed dialog, `on_flowing` once
    when video can be watched, `on_over` once at the end, when nothing is held any more.
    """

    def __init__(
        self,
        world: Surroundings,
        target: Target,
        flow: Flow,
        attempts: Sequence[Attempt],
        *,
        on_opened: Callable[[int], None],
        on_closed: Callable[[int], None],
        on_answered: Callable[["ActiveCall"], None],
        on_flowing: Callable[["ActiveCall"], None],
        on_over: Callable[["ActiveCall", Failure], None],
    ) -> None:
        self._world = world
        self.target = target
        self._flow = flow
        self._call = Call(attempts, world.limits)
        self._on_opened, self._on_closed = on_opened, on_closed
        self._on_answered, self._on_flowing, self._on_over = on_answered, on_flowing, on_over
        self._loop = world.endpoint.loop
        self._timer: asyncio.TimerHandle | None = None
        self._sound_timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self.receiver: ReceiverHandle | None = None
        self.ssrc: Ssrc | None = None
        self.sip: CallHandle | None = None
        self.saved: str | None = None
        """Call-ID under which the store keeps the dialog."""
        self.saving: asyncio.Task[None] | None = None
        self._established = False

    @property
    def attempt(self) -> Attempt:
        """The offer under way or in force."""
        return self._call.attempt

    @property
    def state(self) -> CallState:
        """How far it came."""
        return self._call.state

    def start(self) -> None:
        """Makes the call; everything else is told by the callbacks."""
        self._pump()

    def handle(self, event: Input) -> None:
        """Takes one input, and does what follows from it."""
        self._call.handle(self._loop.time(), event)
        self._pump()

    def moved(self, flow: Flow) -> None:
        """The device has registered anew, maybe from elsewhere: requests of the dialog go there from now on.

        An INVITE on its way to the old place will not be answered.
        """
        elsewhere = flow.remote != self._flow.remote
        self._flow = flow
        if self.sip is not None:
            self.sip.flow = flow
        if elsewhere and self._call.state is CallState.INVITING:
            self.handle(DeviceGone())

    def handle_media(self, event: MediaEvent) -> None:
        """Takes an event of our receiver."""
        match event.kind:
            case "connected":
                self.handle(Connected())
            case "connect_failed":
                self.handle(ConnectFailed(event.detail.get("reason", "")))
            case "first_packet":
                self.handle(MediaSeen())
            case "first_key_frame":
                self.handle(Playable())
            case "tracks" if not event.detail.get("video") and self._sound_timer is None:
                self._sound_timer = self._loop.call_later(SOUND_ALONE, self.handle, Playable())
            case "wrong_payload":
                self.handle(WrongPayload(event.detail.get("payload", "")))
            case "silent":
                self.handle(MediaSilent())
            case "disconnected":
                self.handle(MediaLost(event.detail.get("reason", "connection closed")))
            case _:
                pass

    # -- doing ----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping:
            return  # an output made an input; the loop below takes what follows
        self._pumping = True
        try:
            while (output := self._call.poll_output()) is not None:
                match output:
                    case OpenReceiver(attempt):
                        self._open(attempt)
                    case SendInvite(attempt):
                        self._world.spawn(self._invite(attempt))
                    case EndDialog():
                        self._end_dialog()
                    case CloseReceiver():
                        self._close()
                    case Flowing():
                        self._on_flowing(self)
                    case Over(failure):
                        self._stop_timers()
                        self._on_over(self, failure)
        finally:
            self._pumping = False
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._call.next_timeout()
        if due is not None:
            self._timer = self._loop.call_at(due, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self._call.handle_timeout(self._loop.time())
        self._pump()

    def _stop_timers(self) -> None:
        if self._sound_timer is not None:
            self._sound_timer.cancel()

    def _open(self, attempt: Attempt) -> None:
        world, target = self._world, self.target
        self.ssrc = world.ssrcs.allocate(self._loop.time())
        try:
            self.receiver = world.relay.open_receiver(
                target.app,
                target.stream_name,
                transport=RELAY_TRANSPORTS[attempt.transport],
                shared=world.shared_port and attempt.transport is not MediaTransport.TCP_ACTIVE,
                ssrc=self.ssrc,
                peer=self._flow.remote.host,
                private=target.private,
                generation=target.generation,
            )
        except CoreError as error:
            self._release_ssrc()
            self.handle(ReceiverRefused(str(error)))
        else:
            self._on_opened(self.receiver.id)
            self.handle(ReceiverOpened())

    def _close(self) -> None:
        if self.receiver is not None:
            self._on_closed(self.receiver.id)
            self._world.relay.close_receiver(self.receiver.id)
            self.receiver = None
        self._release_ssrc()

    def _release_ssrc(self) -> None:
        if self.ssrc is not None:
            self._world.ssrcs.release(self._loop.time(), self.ssrc)
            self.ssrc = None

    def _end_dialog(self) -> None:
        if self.sip is not None:
            self.sip.hang_up()
        # else the INVITE is not out yet; `_invite` sees that nobody wants it

    async def _invite(self, attempt: Attempt) -> None:
        request = self._request(attempt)
        if request is None:
            return
        try:
            call = await self._world.endpoint.invite(request, flow=self._flow)
        except SipError as error:
            self._refused(attempt, Refused(None, str(error)))
            return
        self.sip, self._established = call, False
        call.on_ended(lambda _ended: self._dialog_over(call))
        if self._call.state is not CallState.INVITING or self._call.attempt is not attempt:
            call.hang_up()  # given up while it was being written
            return
        try:
            response = await call.answer()
        except CallRefusedError as error:
            self._refused(attempt, Refused(error.status, error.response.reason))
        except SipError as error:
            self._refused(attempt, Refused(None, str(error)))
        else:
            self._answered(call, response, attempt)

    def _refused(self, attempt: Attempt, event: Refused) -> None:
        if self._call.attempt is attempt:
            self.handle(event)

    def _request(self, attempt: Attempt) -> Request | None:
        if self.receiver is None or self.ssrc is None:
            return None
        world, target = self._world, self.target
        port = self.receiver.port or DISCARD_PORT
        offer = live_offer(world.server_id, world.media_address(self._flow), port, self.ssrc, attempt)
        remote = self._flow.remote
        headers = Headers(
            [
                ("From", NameAddr(Uri(world.server_id, world.domain))),
                ("To", NameAddr(Uri(target.channel_id, world.domain))),
                ("Subject", subject(target.channel_id, self.ssrc, world.server_id)),
                ("Content-Type", "application/sdp"),
            ]
        )
        return Request("INVITE", Uri(target.channel_id, remote.host, remote.port), headers, bytes(offer))

    def _answered(self, call: CallHandle, response: Response, attempt: Attempt) -> None:
        if self.receiver is None or self._call.attempt is not attempt:
            return  # given up meanwhile: its BYE is under way
        self._established = True
        registered = self._flow.remote.host
        try:
            answer = read_answer(response.body, attempt, lambda address: self._world.trusted(registered, address))
        except AnswerError as error:
            self.handle(BadAnswer(str(error)))
            return
        try:
            self._tell_relay(self.receiver, answer, attempt)
        except CoreError as error:  # on the shared port it may name the SSRC of another stream
            self.handle(BadAnswer(str(error)))
            return
        self._on_answered(self)
        self.handle(Answered())

    def _tell_relay(self, receiver: ReceiverHandle, answer: MediaAnswer, attempt: Attempt) -> None:
        relay, registered = self._world.relay, self._flow.remote.host
        address = answer.address or registered
        relay.expect(receiver.id, ssrc=answer.ssrc, peer=address, payloads=answer.payloads)
        if attempt.transport is MediaTransport.TCP_ACTIVE:
            relay.connect(receiver.id, address, answer.port)

    def _dialog_over(self, call: CallHandle) -> None:
        if call is not self.sip:
            return
        self.sip = None
        if self._call.state is CallState.ENDING:
            self.handle(DialogEnded())
        elif self._established:
            self.handle(ByeReceived())
        # else it was refused: `_invite` hears of it, and with which status
