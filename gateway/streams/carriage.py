"""How the packets of an RTSP address travel: on its connection, or as datagrams where its fragment says so. Pure.

A fragment is never sent to a server (RFC 3986 §3.5), so nothing that a camera's address needs can be mistaken for it.
"""

from typing import Final, Literal
from urllib.parse import urlsplit

Transport = Literal["tcp", "udp"]

_NAME: Final = "transport="
DATAGRAMS: Final = "#transport=udp"


def transport_of(url: str) -> Transport:
    """Of an address that `wrong_transport` finds nothing wrong with."""
    return "udp" if _chosen(url) == "udp" else "tcp"


def wrong_transport(url: str) -> str | None:
    """What is wrong with the transport that an address asks for; None: nothing, or it asks for none.

    ValueError if it is no URL.
    """
    chosen = _chosen(url)
    if chosen not in (None, "tcp", "udp"):
        return "#transport= is tcp or udp"
    scheme = urlsplit(url).scheme
    if chosen == "udp" and scheme == "rtsps":
        return f"{DATAGRAMS} would carry in the clear what rtsps:// is to protect"
    if chosen == "udp" and scheme != "rtsp":
        return f"{DATAGRAMS} is for rtsp:// alone"
    return None


def shown_transport(url: str) -> str:
    """What an address that is shown without its secrets ends with."""
    return DATAGRAMS if transport_of(url) == "udp" else ""


def _chosen(url: str) -> str | None:
    fragment = urlsplit(url).fragment.lower()
    return fragment.removeprefix(_NAME) if fragment.startswith(_NAME) else None
