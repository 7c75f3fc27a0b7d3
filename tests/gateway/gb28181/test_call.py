"""`gateway.gb28181.call`: the usual flows by hand, and any history at all by hypothesis."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.devices.model import MediaTransport
from gateway.gb28181.call import (
    Answered,
    Attempt,
    BadAnswer,
    ByeReceived,
    Call,
    CallState,
    Cancelled,
    CloseReceiver,
    Connected,
    ConnectFailed,
    DeviceGone,
    DialogEnded,
    EndDialog,
    FailureCause,
    Flowing,
    Input,
    Limits,
    MediaLost,
    MediaSeen,
    MediaSilent,
    OpenReceiver,
    Output,
    Over,
    Playable,
    ReceiverOpened,
    ReceiverRefused,
    Refused,
    SendInvite,
    Stage,
    WrongPayload,
)

UDP = Attempt(MediaTransport.UDP)
TCP = Attempt(MediaTransport.TCP_PASSIVE)


def drain(call: Call) -> list[Output]:
    outputs = []
    while (output := call.poll_output()) is not None:
        outputs.append(output)
    return outputs


def play(call: Call, *events: Input) -> list[Output]:
    outputs = drain(call)
    for event in events:
        call.handle(0.0, event)
        outputs += drain(call)
    return outputs


def test_video_flows_and_is_cancelled() -> None:
    call = Call([UDP])
    assert play(call, ReceiverOpened(), Answered(), MediaSeen(), Playable()) == [
        OpenReceiver(UDP),
        SendInvite(UDP),
        Flowing(),
    ]
    assert call.next_timeout() is None
    *released, over = play(call, Cancelled(), DialogEnded())
    assert released == [EndDialog(), CloseReceiver()]
    assert isinstance(over, Over)
    assert (over.failure.stage, over.failure.cause) == (Stage.FLOWING, FailureCause.CANCELLED)


def test_media_may_overtake_the_answer() -> None:
    call = Call([UDP])
    assert play(call, ReceiverOpened(), MediaSeen(), Playable())[-1] == SendInvite(UDP)
    assert play(call, Answered()) == [Flowing()]


def test_a_refused_offer_is_followed_by_the_next() -> None:
    call = Call([TCP, UDP])
    outputs = play(call, ReceiverOpened(), Refused(488), ReceiverOpened())
    assert outputs == [OpenReceiver(TCP), SendInvite(TCP), CloseReceiver(), OpenReceiver(UDP), SendInvite(UDP)]


def test_a_busy_device_is_not_offered_anything_else() -> None:
    *_, over = play(Call([TCP, UDP]), ReceiverOpened(), Refused(486, "Busy Here"))
    assert isinstance(over, Over)
    assert str(over.failure) == "invite: refused 486: Busy Here"


def test_no_tcp_connection_falls_back_to_udp_after_the_bye() -> None:
    call = Call([TCP, UDP], Limits(connect=10.0))
    play(call, ReceiverOpened(), Answered())
    call.handle_timeout(9.9)
    assert drain(call) == []
    call.handle_timeout(10.0)
    assert drain(call) == [EndDialog(), CloseReceiver()]
    assert play(call, DialogEnded()) == [OpenReceiver(UDP)]


def test_answered_but_silent_names_the_stage() -> None:
    call = Call([UDP], Limits(media=15.0, bye=5.0))
    play(call, ReceiverOpened(), Answered())
    call.handle_timeout(15.0)
    assert drain(call) == [EndDialog(), CloseReceiver()]
    call.handle_timeout(20.0)  # the BYE is never answered
    (over,) = drain(call)
    assert isinstance(over, Over)
    assert str(over.failure) == "media: no_media"


def test_a_camera_may_take_longer_to_begin_than_to_pause() -> None:
    call = Call([UDP], Limits(media=15.0))
    play(call, ReceiverOpened(), Answered())
    assert play(call, MediaSilent()) == []
    assert play(call, MediaSeen(), Playable()) == [Flowing()]
    assert play(call, MediaSilent()) == [EndDialog(), CloseReceiver()]


EVENTS = st.sampled_from(
    [
        Answered(),
        BadAnswer("no m line"),
        Refused(486),
        Refused(488),
        Refused(None),
        Connected(),
        ConnectFailed("refused"),
        MediaSeen(),
        Playable(),
        WrongPayload("IMKH"),
        MediaSilent(),
        MediaLost("closed"),
        ByeReceived(),
        DialogEnded(),
        Cancelled(),
        DeviceGone(),
    ]
)


class AnyHistory(RuleBasedStateMachine):
    """A world that obeys the call, and in which anything may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.call = Call([TCP, Attempt(MediaTransport.UDP, minimal=True), UDP])
        self.opening = False
        self.open = 0
        self.dialog = False
        self.over = False
        self.flowed = False
        self.obey()

    def obey(self) -> None:
        for output in drain(self.call):
            assert not self.over, "nothing may follow Over"
            match output:
                case OpenReceiver():
                    assert not self.open and not self.opening and not self.dialog
                    self.opening = True
                case SendInvite():
                    assert self.open and not self.dialog
                    self.dialog = True
                case EndDialog():
                    assert self.dialog, "a dialog is ended once, and only if there is one"
                    self.dialog = False
                case CloseReceiver():
                    assert self.open == 1
                    self.open = 0
                case Flowing():
                    assert self.open and self.dialog
                    self.flowed = True
                case Over(failure):
                    assert not self.open and not self.dialog
                    assert failure.stage is not Stage.FLOWING or self.flowed
                    self.over = True

    @precondition(lambda self: self.opening)
    @rule(opened=st.booleans())
    def relay_answers(self, opened: bool) -> None:
        self.opening = False
        self.open = int(opened)
        self.call.handle(self.now, ReceiverOpened() if opened else ReceiverRefused("no port is free"))
        self.obey()

    @rule(event=EVENTS)
    def anything_happens(self, event: Input) -> None:
        if isinstance(event, Refused | ByeReceived):
            self.dialog = False  # the world knows that the dialog is gone
        self.call.handle(self.now, event)
        self.obey()

    @rule(seconds=st.floats(0.1, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.call.handle_timeout(self.now)
        self.obey()

    @invariant()
    def something_will_happen(self) -> None:
        waiting = self.call.next_timeout() is not None or self.opening
        assert waiting or self.call.state in {CallState.FLOWING, CallState.OVER}

    def teardown(self) -> None:
        self.call.handle(self.now, Cancelled())
        self.obey()
        if self.opening:
            self.relay_answers(opened=True)
        self.now += 60.0
        self.call.handle_timeout(self.now)
        self.obey()
        assert self.over and not self.open and not self.dialog


AnyHistory.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestAnyHistory = AnyHistory.TestCase
