"""What a push may be, and what is shown of its address. Pure."""

from typing import Final
from urllib.parse import urlsplit

from gateway.errors import InvalidError
from gateway.streams.carriage import shown_transport, wrong_transport

URL_MAX: Final = 2048
SCHEMES: Final = frozenset({"rtmp", "rtmps", "rtsp", "rtsps"})
PUSHES_OF_STREAM_MAX: Final = 8
NAME_SHOWN: Final = 8


def check_url(url: str) -> None:
    """InvalidError unless it can name a stream on an RTMP or RTSP server; what it names the relay judges."""
    if len(url) > URL_MAX or not url.isprintable():
        raise InvalidError("url", f"at most {URL_MAX} printable characters", code="url.characters", most=URL_MAX)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidError(
            "url", "an address of rtmp://, rtmps://, rtsp:// or rtsps:// with a host", code="url.push_scheme"
        )
    if wrong := wrong_transport(url):
        raise InvalidError("url", wrong, code="url.transport")


def shown(url: str) -> str:
    """The address without user, password and query; of a longer stream's name the beginning: it may be a key."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    app, slash, name = parts.path.rpartition("/")
    kept = name if len(name) <= NAME_SHOWN else name[:4]
    hidden = "…" if parts.query or kept != name else ""
    return f"{parts.scheme}://{host}{app}{slash}{kept}{hidden}{shown_transport(url)}"
