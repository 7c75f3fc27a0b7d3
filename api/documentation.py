"""What OpenAPI says of refusals: every route tells the statuses its family answers with, and the body of each."""

from typing import Any, Final

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

ALWAYS: Final = {
    400: "A parameter or the request is wrong, or what is asked for cannot be now",
    401: "No token, a wrong signature or a wrong password",
    403: "The token, the project or the right is refused",
    404: "There is no such thing, or a parameter is wrong",
    500: "Our fault; the log says more under the request's id",
    503: "The database or another part is away or overloaded: try again",
}
CHANGING: Final = {
    409: "What is to be made exists, or is in use",
    413: "The body is too long",
}
ATTEMPTS: Final = {429: "Too many attempts failed; Retry-After says when to try again"}
"""Where a password is judged."""


class VisError(msgspec.Struct, kw_only=True):
    """How /v1 refuses."""

    error_code: str
    """As VIS.0005."""
    error_msg: str


class KeystoneReason(msgspec.Struct, kw_only=True):
    code: int
    message: str
    title: str


class KeystoneError(VisError, kw_only=True):
    """How /v3 refuses: in both forms that services like it use."""

    error: KeystoneReason


class Problem(msgspec.Struct, kw_only=True):
    """How /gb/v1 refuses (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


BODIES: Final[dict[str, tuple[type[Any], str]]] = {
    "v1": (VisError, "application/json"),
    "v3": (KeystoneError, "application/json"),
    "gb": (Problem, "application/problem+json"),
}
"""By the first part of the path."""


class Refusals(ReceiveRoutePlugin):
    """Adds to each handler what it did not document itself."""

    def receive_route(self, route: BaseRoute) -> None:
        family = route.path.split("/", 2)[1]
        if not isinstance(route, HTTPRoute) or family not in BODIES:
            return
        body, media_type = BODIES[family]
        for handler in route.route_handlers:
            reads = handler.http_methods <= {"GET", "HEAD", "OPTIONS"}
            statuses = ALWAYS if reads and family != "gb" else ALWAYS | CHANGING
            if route.path.endswith(("/auth/tokens", "/password")):
                statuses = statuses | ATTEMPTS
            documented = {
                status: ResponseSpec(body, generate_examples=False, description=text, media_type=media_type)
                for status, text in statuses.items()
            }
            handler.responses = documented | dict(handler.responses or {})
