"""What every controller asks of a request."""

from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from api.services import Gateway, MediaServer
from gateway.accounts.model import Access, Role, User
from gateway.streams.live import Bases

Authorised = Request[User, Access, State]
"""A request that came through the gate."""

SCOPED: Final = {"scoped": True}
"""Option of handlers that keep to `request.auth.scope`, and so may serve users who are restricted to some devices."""


def needs(role: Role) -> dict[str, Any]:
    """Options of handlers that only users of this role, or one that may do more, get to."""
    return {"needs": role}


OWN: Final = {"own": True}
"""Option of handlers that touch nothing but what is the caller's own (password, tokens, keys): viewers may use them."""

Services = NamedDependency[SkipValidation[Gateway]]
"""The gateway, given by `api.application`."""


def address(scope: Any) -> str:
    """Where a request comes from, as the front door saw it: nobody else gets to our socket. Empty if it is not told."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"), "")


def address_bases(request: Request[Any, Any, Any], gateway: Gateway) -> Bases:
    """How addresses begin that we give to this client."""
    http = base_url(request, gateway)
    host = urlsplit(http).hostname or gateway.sip.host
    secure = http.startswith("https")
    return Bases(
        http=http,
        rtmp=_base("rtmp", gateway.rtmp, host, secure),
        rtsp=_base("rtsp", gateway.rtsp, host, secure),
        webrtc=http if gateway.webrtc.enabled else None,
    )


def _base(scheme: str, server: MediaServer | None, host: str, secure: bool) -> str | None:
    """How addresses of a server begin: behind TLS for those who came so, and where nothing else is open."""
    if server is None or server.public_url:
        return server.public_url if server else None
    host = f"[{host}]" if ":" in host else host
    if server.tls_port and (secure or not server.port):
        return f"{scheme}s://{host}:{server.tls_port}"
    return f"{scheme}://{host}:{server.port}"


def base_url(request: Request[Any, Any, Any], gateway: Gateway) -> str:
    """Scheme and host under which the client reaches us; the front door says whether it came by TLS."""
    if gateway.public_url:
        return gateway.public_url
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{request.headers.get('host') or request.url.netloc}"
