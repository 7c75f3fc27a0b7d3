"""Drives all calls of one endpoint over its transactions (RFC 3261 §13 to §15). No socket, no clock.

Calls are found by Call-ID and our tag. A call given up before it was answered is remembered for `Timers.proceeding`,
so that a 200 that comes late is still acknowledged and ended.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sip.call import Call, CallCause, CallState, Ended, Party, Step
from sip.dialog import Dialog, DialogCause, DialogState
from sip.events import CallEstablished, CallOffered, CallOver, CallProgress, Event
from sip.failures import CallEndedError
from sip.flow import Flow
from sip.message import Request, Response
from sip.timers import Deadlines, Expiry, Timers
from sip.transaction import cause_of
from sip.transaction_layer import Failure, IncomingTransaction, Outcome, TransactionLayer
from sip.values import NameAddr

_CAUSES: Final = {"1xx": CallCause.PROVISIONAL, "2xx": CallCause.SUCCESS, "3xx-6xx": CallCause.FAILURE}
_FAILURES: Final = {Failure.TIMEOUT: CallCause.TIMEOUT, Failure.BROKEN: CallCause.BROKEN}

Fields = Iterable[tuple[str, object]]


class Calls:
    """See the module. `emit` receives events; `contact(flow, user)` makes our Contact on a flow."""

    def __init__(
        self,
        layer: TransactionLayer,
        token: Callable[[], str],
        contact: Callable[[Flow, str | None], NameAddr],
        emit: Callable[[Event], None],
    ) -> None:
        self._layer = layer
        self._timers: Timers = layer.timers
        self._token = token
        self._contact = contact
        self._emit = emit
        self._by_call_id: dict[str, list[Call]] = {}
        self._abandoned: Expiry[Call] = Expiry(self._timers.proceeding, grain=5.0)
        self._deadlines: Deadlines[Call] = Deadlines()

    def __len__(self) -> int:
        """Calls known, abandoned ones that still wait for a late answer included."""
        return sum(map(len, self._by_call_id.values()))

    def open(self) -> list[Call]:
        """Calls that are not over."""
        return [call for calls in self._by_call_id.values() for call in calls if not call.over]

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def invite(self, now: float, flow: Flow, request: Request) -> Call:
        """Sends a complete INVITE (but for Via); raises OverloadedError."""
        dialog = Dialog.of_sent_request(request, flow)
        call = Call(dialog, outgoing=True, sequence=request.cseq.number, state=CallState.CALLING)
        call.invite = self._layer.send_request(now, flow, request, partial(self._on_invite_outcome, call))
        self._add(call)
        return call

    def adopt(self, snapshot: Mapping[str, Any], flow: Flow | None = None) -> Call:
        """An established call from its snapshot, to be ended or talked in; errors as `Dialog.restore`."""
        dialog = Dialog.restore(snapshot["dialog"], flow)
        dialog.state = DialogState.CONFIRMED
        outgoing, sequence = bool(snapshot["outgoing"]), int(snapshot["sequence"])
        call = Call(dialog, outgoing=outgoing, sequence=sequence, state=CallState.ESTABLISHED)
        self._add(call)
        return call

    def hang_up(self, now: float, call: Call, reason: str = "hung up") -> None:
        """Ends a call by CANCEL, BYE or refusal, whichever its state asks for; ended already, it does nothing."""
        if call.state is CallState.OFFERED:
            self.reject(now, call, 480)
        elif call.knows(CallCause.HANG_UP):
            call.wanted = Ended(Party.LOCAL, reason)
            self._do(now, call, CallCause.HANG_UP)

    def handle_stray(self, now: float, response: Response) -> bool:
        """A 2xx to an INVITE whose transaction is gone; False if no call is known either."""
        if response.cseq.method != "INVITE" or not 200 <= response.status < 300:
            return False
        for call in self._by_call_id.get(response.call_id, ()):
            if call.outgoing and call.sequence == response.cseq.number:
                self._on_invite_outcome(call, now, response)
                return True
        return False

    def _on_invite_outcome(self, call: Call, now: float, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self._do(now, call, _FAILURES[outcome])
            return
        cause = _CAUSES[cause_of(outcome.status).value]
        if cause is CallCause.SUCCESS:
            if call.dialog.state is DialogState.CONFIRMED and outcome.to.tag != call.dialog.remote_tag:
                self._end_fork(now, call, outcome)
                return
            if call.dialog.state is DialogState.EARLY:
                call.dialog.learn(outcome)
                call.dialog.handle(DialogCause.ESTABLISH)
                call.answer = outcome
        elif cause is CallCause.PROVISIONAL and outcome.to.tag and call.dialog.state is DialogState.EARLY:
            call.dialog.learn(outcome)
        self._do(now, call, cause, outcome)

    def _end_fork(self, now: float, call: Call, response: Response) -> None:
        """A second device accepted the same INVITE: acknowledge and end it (RFC 3261 §13.2.2.4)."""
        ours = call.dialog
        dialog = Dialog(ours.call_id, ours.local, ours.remote, ours.target, ours.flow, sequence=call.sequence)
        dialog.learn(response)
        self._layer.send_ack(dialog.flow, dialog.ack(call.sequence))
        self._layer.send_request(now, dialog.flow, dialog.request("BYE"), _ignore)

    # -- incoming -----------------------------------------------------------------------------------------------------

    def handle_invite(self, now: float, flow: Flow, transaction: IncomingTransaction) -> Call:
        """A new call offered to us; 100 is sent at once, so that the peer stops repeating."""
        request = transaction.request
        contact = self._contact(flow, request.uri.user)
        dialog = Dialog.of_received_request(request, flow, self._token(), contact)
        call = Call(dialog, outgoing=False, sequence=request.cseq.number, state=CallState.OFFERED)
        call.invite = transaction
        transaction.listener = partial(self._on_server_failure, call)
        self._add(call)
        self._layer.respond(now, transaction, request.response(100))
        self._emit(CallOffered(call, request, flow, now))
        return call

    def progress(self, now: float, call: Call, status: int = 180, headers: Fields = (), body: bytes = b"") -> None:
        """Sends a provisional response with our tag; IllegalTransitionError once the call was answered."""
        call.handle(CallCause.PROVISIONAL)
        self._respond(now, call, status, headers, body)

    def accept(self, now: float, call: Call, headers: Fields = (), body: bytes = b"") -> None:
        """Sends 200 and repeats it until ACK comes; CallEndedError if the caller has cancelled meanwhile."""
        if call.over:
            raise CallEndedError("cancelled by the caller")
        call.handle(CallCause.SUCCESS)
        call.dialog.handle(DialogCause.ESTABLISH)
        contact = [("Contact", call.dialog.contact)]
        call.answer = self._respond(now, call, 200, [*contact, *headers], body)
        call.interval = self._timers.t1
        call.repeat_at, call.repeat_until = now + call.interval, now + self._timers.timeout
        self._deadlines.arm(call)

    def reject(self, now: float, call: Call, status: int = 488, headers: Fields = ()) -> None:
        """Refuses an offered call; one that was cancelled meanwhile is left alone."""
        if call.over:
            return
        call.handle(CallCause.FAILURE)
        self._respond(now, call, status, headers)
        self._finish(now, call, Ended(Party.LOCAL, "rejected", status))

    def handle_ack(self, now: float, flow: Flow, ack: Request) -> bool:
        """The ACK of a 200 of ours; False if there is no such call."""
        call = self.find(ack)
        if call is None or call.outgoing or call.sequence != ack.cseq.number:
            return False
        call.repeat_at = None
        self._follow(call, flow)
        self._do(now, call, CallCause.ACK)
        return True

    def handle_cancel(self, now: float, invite: IncomingTransaction) -> None:
        """The caller wants no more; its CANCEL has been answered. Too late once the call was accepted (RFC 3261
        §9.2)."""
        for call in self._by_call_id.get(invite.request.call_id, ()):
            if call.invite is invite:
                self._do(now, call, CallCause.CANCEL)
                return

    def _on_server_failure(self, call: Call, now: float, failure: Failure) -> None:
        self._do(now, call, _FAILURES[failure])

    def _respond(self, now: float, call: Call, status: int, headers: Fields = (), body: bytes = b"") -> Response:
        transaction: IncomingTransaction = call.invite
        response = transaction.request.response(status, to_tag=call.dialog.local_tag, headers=headers, body=body)
        self._layer.respond(now, transaction, response)
        return response

    # -- both ---------------------------------------------------------------------------------------------------------

    def find(self, request: Request) -> Call | None:
        """The call that a request of a peer belongs to."""
        for call in self._by_call_id.get(request.call_id, ()):
            if not call.over and call.dialog.belongs(request):
                return call
        return None

    def handle_request(self, now: float, flow: Flow, call: Call, transaction: IncomingTransaction) -> bool:
        """Takes what the call itself answers: BYE and re-INVITE. False for all else, which is the user's."""
        request = transaction.request
        self._follow(call, flow)
        call.dialog.note_request(request)
        if request.method == "BYE":
            known = call.knows(CallCause.BYE)
            self._layer.respond(now, transaction, request.response(200 if known else 481, to_tag=call.dialog.local_tag))
            call.wanted = Ended(Party.REMOTE, request.headers.get("Reason") or "BYE")
            self._do(now, call, CallCause.BYE)
            return True
        if request.method == "INVITE":  # the session stays as it is (RFC 3261 §14.2)
            self._layer.respond(now, transaction, request.response(488, to_tag=call.dialog.local_tag))
            return True
        return False

    def handle_timeout(self, now: float) -> None:
        """Repeats unacknowledged 200s, gives them up, and forgets abandoned calls."""
        for call in self._abandoned.pop(now):
            self._remove(call)
        for call in self._deadlines.pop(now):
            if now >= call.repeat_until or call.answer is None:
                call.repeat_at = None
                call.wanted = call.wanted or Ended(Party.NETWORK, "no ACK")
                self._do(now, call, CallCause.TIMEOUT)
            else:
                call.interval = min(2 * call.interval, self._timers.t2)
                call.repeat_at = min(now + call.interval, call.repeat_until)
                self._repeat_answer(now, call, call.answer)
                self._deadlines.arm(call)

    def _repeat_answer(self, now: float, call: Call, answer: Response) -> None:
        transaction: IncomingTransaction = call.invite
        if not transaction.machine.terminated:
            self._layer.respond(now, transaction, answer)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; early at worst."""
        queues = (self._abandoned, self._deadlines)
        return min((due for queue in queues if (due := queue.next_timeout()) is not None), default=None)

    def _do(self, now: float, call: Call, cause: CallCause, response: Response | None = None) -> None:
        """Moves a call and does what its table says."""
        was_over = call.over
        match call.handle(cause):
            case Step.ACK if call.ack_data:
                self._layer.repeat(call.dialog.flow, call.ack_data)
            case Step.ACK:  # taken up again after a crash: the ACK of before is not known
                self._acknowledge(call)
            case Step.ACK_AND_REPORT:
                call.invite = None  # a call may last for weeks; its transaction tells us of repeated 200s by itself
                self._acknowledge(call)
                self._emit(CallEstablished(call))
            case Step.ACK_AND_BYE:
                self._acknowledge(call)
                self._send_bye(now, call)
            case Step.CANCEL:
                self._layer.send_cancel(now, call.invite)
            case Step.BYE:
                call.repeat_at = None
                self._send_bye(now, call)
            case Step.TERMINATE:
                self._respond(now, call, 487)
                wanted = call.wanted or Ended(Party.REMOTE, "cancelled", 487)
                self._finish(now, call, wanted)
            case Step.REPORT if call.over and not was_over:
                self._finish(now, call, _why(call, cause, response), response)
            case Step.REPORT if response is not None:
                self._emit(CallProgress(call, response))
            case Step.REPORT:
                self._emit(CallEstablished(call))
            case _:
                pass

    def _acknowledge(self, call: Call) -> None:
        call.ack_data = self._layer.send_ack(call.dialog.flow, call.dialog.ack(call.sequence))

    def _send_bye(self, now: float, call: Call) -> None:
        self._layer.send_request(now, call.dialog.flow, call.dialog.request("BYE"), partial(self._on_bye, call))

    def _on_bye(self, call: Call, now: float, outcome: Outcome) -> None:
        if isinstance(outcome, Response):
            if outcome.status < 200:
                return
            call.bye_status = outcome.status
        self._do(now, call, CallCause.BYE_DONE)

    def _finish(self, now: float, call: Call, ended: Ended, response: Response | None = None) -> None:
        call.ended = ended
        call.repeat_at = None
        if call.dialog.state is not DialogState.TERMINATED and call.state is CallState.ENDED:
            call.dialog.handle(DialogCause.END)
        if call.state is CallState.ABANDONED:
            self._abandoned.add(now, call)
        else:
            self._remove(call)
        self._emit(CallOver(call, ended, response))

    def _follow(self, call: Call, flow: Flow) -> None:
        """The peer's NAT mapping has moved: our requests go where its last one came from. Another host is not
        followed."""
        dialog = call.dialog
        if flow != dialog.flow and flow.remote.host == dialog.flow.remote.host:
            dialog.flow = flow

    def _add(self, call: Call) -> None:
        self._by_call_id.setdefault(call.dialog.call_id, []).append(call)

    def _remove(self, call: Call) -> None:
        calls = self._by_call_id.get(call.dialog.call_id, [])
        if call in calls:
            calls.remove(call)
        if not calls:
            self._by_call_id.pop(call.dialog.call_id, None)


def _why(call: Call, cause: CallCause, response: Response | None) -> Ended:
    if call.wanted is not None:
        return replace(call.wanted, status=response.status) if response is not None else call.wanted
    if response is not None:
        return Ended(Party.REMOTE, response.reason, response.status)
    return Ended(Party.NETWORK, cause.value)


def _ignore(_now: float, _outcome: Outcome) -> None:
    """Nobody waits for the end of a forked call."""
