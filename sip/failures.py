"""Errors of those who use this library to talk: what may become of a request, a call or a response."""

from enum import Enum

from sip.errors import SipError
from sip.flow import Flow
from sip.message import Response


class IllegalTransitionError(SipError):
    """A machine got a cause that may not come in its state: a bug of the one who gave it."""

    def __init__(self, state: Enum, cause: Enum) -> None:
        super().__init__(f"{cause.name} may not come in state {state.name}")
        self.state = state
        self.cause = cause


class OverloadedError(SipError):
    """A bound of our own is reached; try again later."""


class RequestFailedError(SipError):
    """A request got no final response; `what` names it (method, Call-ID), `flow` says where it went."""

    def __init__(self, what: str, flow: Flow) -> None:
        super().__init__(f"{what} over {flow}")
        self.what = what
        self.flow = flow


class RequestTimeoutError(RequestFailedError):
    """Nobody answered in time."""


class FlowClosedError(RequestFailedError):
    """The connection that it went over is gone, or the network refused it."""


class CallRefusedError(SipError):
    """An INVITE or SUBSCRIBE got a final response other than 2xx: `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status} {response.reason} to {response.cseq.method}, Call-ID {response.call_id}")
        self.response = response
        self.status = response.status


class CallEndedError(SipError):
    """The call is over, or it was given up before it was answered."""
