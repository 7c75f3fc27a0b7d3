"""One table from what the domain refuses to what each API answers.

Every family has a body of its own: `/v1` that of VIS, `/v3` that of Keystone, the rest problem+json (RFC 9457). All
have the reason as a code beside it (`api.reasons`), but for faults of our own.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

import gateway.access.errors as access
import gateway.accounts.errors as accounts
import gateway.credentials.errors as credentials
import gateway.devices.errors as devices
import gateway.retention.errors as retention
import gateway.streams.errors as streams
from api.reasons import HEADER, MALFORMED, reason_of
from gateway.accounts.errors import TooManyAttemptsError
from gateway.errors import ConflictError, GatewayError, InvalidError, NotFoundError, QuotaError, UnavailableError

log = structlog.get_logger(__name__)

STATUS: Final[Mapping[str, int]] = {
    "VIS.0001": 403,  # the token is refused
    "VIS.0002": 400,  # no project id
    "VIS.0003": 403,  # X-Project-Id names another project than the path
    "VIS.0004": 403,  # not subscribed
    "VIS.0005": 404,  # a parameter is wrong
    "VIS.0006": 403,  # not allowed
    "VIS.0007": 500,  # our fault
    "VIS.0008": 503,  # something we depend on is down
    "VIS.0009": 503,  # who asks cannot be looked up
    "VIS.0010": 404,  # no object storage is configured
    "VIS.0011": 503,  # the object storage does not answer
    "VIS.0012": 404,  # the bucket may be written, but nothing in it deleted
    "VIS.0013": 500,  # the local directory cannot be made
    "VIS.0014": 400,  # a quota is used up
    "VIS.0015": 404,  # the project has no user any more
    "VIS.0017": 403,  # what is in the bucket may not be read
    "VIS.0018": 400,  # subscribed already
    "VIS.0101": 409,  # the credential's user name is taken
    "VIS.0102": 404,  # no such credential
    "VIS.0103": 409,  # the AK/SK credential's name is taken
    "VIS.0104": 404,  # no such access key
    "VIS.0105": 400,  # the password is the user name, perhaps backwards
    "VIS.0106": 403,  # the present password is another
    "VIS.0107": 400,  # streams are pushed with the access key
    "VIS.0108": 400,  # devices use the credential
    "VIS.0109": 400,  # a device of the credential is invited
    "VIS.0201": 409,  # the stream's name is taken
    "VIS.0202": 400,  # no such stream
    "VIS.0203": 400,  # the stream is being deleted
    "VIS.0204": 400,  # the stream is stopped: no endpoint
    "VIS.0205": 400,  # being retained: only to be stopped
    "VIS.0206": 400,  # the stream is active: its access type stays
    "VIS.0207": 400,  # nothing can be pulled from this URL
    "VIS.0208": 400,  # the object storage refuses our access keys
    "VIS.0209": 400,  # the path cannot be, or there is no such bucket
    "VIS.0210": 403,  # the bucket may not be written
    "VIS.0211": 400,  # nothing flows
    "VIS.0212": 400,  # the stream's address cannot be connected to
    "VIS.0213": 400,  # H265 only from devices
    "VIS.0214": 400,  # never retained
    "VIS.0215": 400,  # more than seven days
    "VIS.0216": 400,  # begins after its end
    "VIS.0301": 409,  # the device's id is taken
    "VIS.0302": 404,  # no such device
    "VIS.0303": 400,  # the device is registered: not deleted
    "VIS.0304": 404,  # no such channel
    "VIS.0305": 500,  # the invitation failed
    "VIS.0306": 500,  # the cancellation failed
    "VIS.0307": 400,  # the channel's device is registered: not deleted
    "VIS.0308": 400,  # invited already, or offline
    "VIS.0309": 400,  # not invited
    "VIS.0310": 400,  # the channel's access strategy is active
    "VIS.0311": 400,  # being refreshed, or no NVR
    "VIS.0312": 400,  # not registered, or offline
    "VIS.0313": 400,  # an NVR's channel cannot prefer TCP
}
"""Status by error code: the whole of the document's table (§6.2)."""

CODES: Final[Mapping[type[GatewayError], str]] = {
    accounts.TokenError: "VIS.0001",
    accounts.LoginError: "VIS.0001",
    accounts.TooManyAttemptsError: "VIS.0001",
    accounts.PasswordError: "VIS.0106",
    accounts.ForbiddenError: "VIS.0006",
    accounts.AnotherProjectError: "VIS.0003",
    accounts.AccountsAwayError: "VIS.0009",
    accounts.NotSubscribedError: "VIS.0004",
    accounts.AlreadySubscribedError: "VIS.0018",
    InvalidError: "VIS.0005",
    ConflictError: "VIS.0308",
    QuotaError: "VIS.0014",
    UnavailableError: "VIS.0008",
    credentials.CredentialExistsError: "VIS.0101",
    credentials.PasswordIsNameError: "VIS.0105",
    credentials.WrongPasswordError: "VIS.0106",
    credentials.CredentialInUseError: "VIS.0108",
    credentials.CredentialBusyError: "VIS.0109",
    credentials.PushKeyExistsError: "VIS.0103",
    credentials.PushKeyInUseError: "VIS.0107",
    streams.AutomaticStreamError: "VIS.0006",
    streams.StreamNameError: "VIS.0201",
    streams.StreamDeletingError: "VIS.0203",
    streams.StreamStoppedError: "VIS.0204",
    streams.StreamActiveError: "VIS.0206",
    streams.UrlError: "VIS.0207",
    streams.NotPublishingError: "VIS.0211",
    streams.UnreachableError: "VIS.0212",
    streams.CodingError: "VIS.0213",
    retention.NoStorageError: "VIS.0010",
    retention.BucketUnreachableError: "VIS.0011",
    retention.BucketRightsError: "VIS.0012",
    retention.DirectoryError: "VIS.0013",
    retention.BucketReadError: "VIS.0017",
    retention.RetainingError: "VIS.0205",
    retention.NotAuthorisedError: "VIS.0208",
    retention.PathError: "VIS.0209",
    retention.NoBucketError: "VIS.0209",
    retention.BucketDeniedError: "VIS.0210",
    retention.NotFlowingError: "VIS.0211",
    retention.H265Error: "VIS.0213",
    retention.NotRetainedError: "VIS.0214",
    retention.IntervalTooLongError: "VIS.0215",
    retention.IntervalOrderError: "VIS.0216",
    devices.StreamExistsError: "VIS.0201",
    devices.DeviceExistsError: "VIS.0301",
    devices.DeviceRegisteredError: "VIS.0303",
    devices.ChannelRegisteredError: "VIS.0307",
    devices.ChannelBusyError: "VIS.0308",
    devices.NotInvitableError: "VIS.0308",
    devices.NotInvitedError: "VIS.0309",
    devices.RefreshingError: "VIS.0311",
    devices.NotNvrError: "VIS.0311",
    devices.DeviceOfflineError: "VIS.0312",
    devices.TcpPriorityError: "VIS.0313",
    access.StrategyActiveError: "VIS.0310",
}
NOT_FOUND: Final[Mapping[str, str]] = {
    "credential": "VIS.0102",
    "access key": "VIS.0104",
    "stream": "VIS.0202",
    "device": "VIS.0302",
    "channel": "VIS.0304",
    "user of project": "VIS.0015",
}
LITESTAR: Final[Mapping[int, str]] = {401: "VIS.0001", 403: "VIS.0006", 503: "VIS.0008"}
"""Codes of what the framework itself refuses; everything else of it is a wrong request."""


DECODER: Final = "litestar.serialization.msgspec_hooks"
"""Where the framework reads bodies."""


class ProjectIdError(GatewayError):
    """What stands in the path is no project id."""


class NoTokenError(accounts.TokenError):
    """The request carries no token at all."""


class InvitationFailedError(GatewayError):
    """The channel could not be called."""


class CancellationFailedError(GatewayError):
    """The channel's call could not be ended."""


OTHERWISE: Final[Mapping[type[GatewayError], int]] = {NoTokenError: 401, TooManyAttemptsError: 429}
"""Where the document has no code with the status that HTTP has for it."""

OURS: Final[Mapping[type[GatewayError], str]] = {
    ProjectIdError: "VIS.0002",
    InvitationFailedError: "VIS.0305",
    CancellationFailedError: "VIS.0306",
}


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answers what was raised, in the form of the family that was asked."""
    path = request.url.path
    status, code, message = _judge(error)
    if code == "VIS.0007":
        log.error("request failed", path=path, exc_info=error)
    elif status >= 500:
        log.warning("request refused", path=path, status=status, code=code, error=str(error))
    if not path.startswith("/v1/"):
        status = _plain_status(error, status)
    request.scope["refusal"] = code  # type: ignore[typeddict-unknown-key]  # for the audit log
    media_type, content = _body(path, status, code, message)
    headers = {"Retry-After": str(max(1, round(error.wait)))} if isinstance(error, TooManyAttemptsError) else {}
    if reason := reason_of(error) or (MALFORMED if _is_bad_request(error) else ""):
        headers[HEADER] = reason
    return Response(content, status_code=status, media_type=media_type, headers=headers)


def body_of(path: str, status: int, code: str, message: str) -> tuple[bytes, bytes]:
    """Media type and body of a refusal, where there is nothing but the server to give them to."""
    media_type, content = _body(path, status, code, message)
    return media_type.encode(), msgspec.json.encode(content)


def _body(path: str, status: int, code: str, message: str) -> tuple[str, dict[str, Any]]:
    if path.startswith("/v1/"):
        return "application/json", {"error_code": code, "error_msg": message}
    if path.startswith("/v3/"):
        return "application/json", _keystone(status, code, message)
    title = HTTPStatus(status).phrase
    return "application/problem+json", {"type": "about:blank", "title": title, "status": status, "detail": message}


def _judge(error: Exception) -> tuple[int, str, str]:
    """The status that VIS gives, the code and the text."""
    if isinstance(error, GatewayError):
        code = _code(error)
        status = next((status for kind, status in OTHERWISE.items() if isinstance(error, kind)), STATUS[code])
        told = "the service is overloaded or down; try again" if isinstance(error, UnavailableError) else str(error)
        return status, code, told
    if _is_bad_request(error):
        return STATUS["VIS.0005"], "VIS.0005", _explain(error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return error.status_code, LITESTAR.get(error.status_code, "VIS.0005"), error.detail
    return 500, "VIS.0007", "internal error; the log says more under this request's id"


def _plain_status(error: Exception, status: int) -> int:
    """The status where VIS does not dictate another."""
    if isinstance(error, accounts.LoginError | accounts.TokenError):
        return 401
    if isinstance(error, InvalidError) or _is_bad_request(error):
        return 400
    if isinstance(error, ConflictError):
        return 409
    return 404 if isinstance(error, NotFoundError) else status


def _code(error: GatewayError) -> str:
    if isinstance(error, NotFoundError):
        return NOT_FOUND.get(error.kind, "VIS.0005")
    for kind in type(error).__mro__:
        code = OURS.get(kind) or CODES.get(kind)
        if code is not None:
            return code
    return "VIS.0007"


def _is_bad_request(error: Exception) -> bool:
    """Refused by the framework; a body nested too deep, or one that is no UTF-8, makes its JSON reader give up."""
    if isinstance(error, RecursionError):
        return "deserializing" in str(error)
    if isinstance(error, UnicodeDecodeError):
        return _raised_in(error) == DECODER
    return isinstance(error, HTTPException) and error.status_code == 400


def _raised_in(error: Exception) -> str | None:
    """The module that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame.f_globals.get("__name__")


def _explain(error: Exception) -> str:
    """Names each wrong field as the framework found it."""
    if isinstance(error, UnicodeDecodeError):
        return "the body is no UTF-8"
    if not isinstance(error, HTTPException):
        return "the body is nested too deep"
    extra = error.extra if isinstance(error.extra, list) else []
    told = [f"{found['key']}: {found['message']}" if found.get("key") else str(found["message"]) for found in extra]
    return "; ".join(told) or error.detail


def _keystone(status: int, code: str, message: str) -> dict[str, Any]:
    """Both forms that Keystone-like services answer with."""
    title = HTTPStatus(status).phrase
    return {"error": {"code": status, "message": message, "title": title}, "error_code": code, "error_msg": message}
