"""Errors of the domain. One table maps them to HTTP (`api/`), one to SIP (`gateway/gb28181/`)."""

from enum import Enum


class GatewayError(Exception):
    """Root of what the domain refuses or fails to do; the text is for the one who asked."""


class IllegalTransitionError(GatewayError):
    """A state machine got a cause that may not come in its state."""

    def __init__(self, state: Enum, cause: Enum) -> None:
        super().__init__(f"{cause.name} may not come in state {state.name}")
        self.state = state
        self.cause = cause


class NotFoundError(GatewayError):
    """Nothing of that kind has this id in this project."""

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"no {kind} {identity}")
        self.kind = kind
        self.identity = identity


class ConflictError(GatewayError):
    """The name is taken, or the thing is in use."""


class QuotaError(GatewayError):
    """The project may not have more of these."""

    def __init__(self, resource: str, total: int) -> None:
        super().__init__(f"the quota of {total} for {resource} is used up")
        self.resource = resource
        self.total = total


class InvalidError(GatewayError):
    """A value may not be so; `field` names it as the API does.

    `code` says why to programs that tell it in other words, with `values` that stand in the reason; empty: only the
    field is known to be wrong.
    """

    def __init__(self, field: str, reason: str, *, code: str = "", **values: object) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.code = code
        self.values = values


class UnavailableError(GatewayError):
    """Something we depend on is down or overloaded; asking again later may help."""
