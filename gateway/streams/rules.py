"""What names, tags and addresses of streams may be (VIS API §4.2.1). Pure."""

import re
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import InvalidError
from gateway.streams.carriage import shown_transport, wrong_transport
from gateway.streams.errors import UrlError
from gateway.streams.model import Tag
from gateway.streams.programs import FORCED, NATIVE

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
OF_A_CHANNEL: Final = re.compile(r"channel_[0-9]{20}_.*")
TAGS_MAX: Final = 10
TAG_KEY: Final = re.compile(r"[A-Za-z0-9_\u4e00-\u9fff-]{1,36}")
TAG_VALUE: Final = re.compile(r"[A-Za-z0-9_.\u4e00-\u9fff-]{0,43}")
URL_MAX: Final = 2048
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f\\]")


def check_name(name: str) -> None:
    """1 to 32 letters, digits, - and _, and no name that a channel's stream could get; InvalidError."""
    if not NAME.fullmatch(name):
        raise InvalidError("name", "1 to 32 letters, digits, - and _", code="name.characters")
    if OF_A_CHANNEL.fullmatch(name):
        raise InvalidError(
            "name", "channel_ and 20 digits begin the names of channels' streams", code="name.of_channel"
        )


def check_tags(tags: Sequence[Tag]) -> None:
    """At most 10, each key once; InvalidError."""
    if len(tags) > TAGS_MAX:
        raise InvalidError("tag", f"at most {TAGS_MAX}")
    for tag in tags:
        if not TAG_KEY.fullmatch(tag.key):
            raise InvalidError("tag.key", "1 to 36 Chinese characters, letters, digits, - and _")
        if not TAG_VALUE.fullmatch(tag.value):
            raise InvalidError("tag.value", "at most 43 Chinese characters, letters, digits and .-_")
    if len({tag.key for tag in tags}) < len(tags):
        raise InvalidError("tag.key", "each key once")


def checked_url(url: str | None, *, allow_private: bool, protocols: Collection[str] = ()) -> str:
    """The URL of a stream that is pulled, without blanks around it; UrlError. `protocols`: schemes that a program
    of its own fetches.

    With `allow_private` false no literal address of a private network may stand in it. What a name resolves to is
    judged when it is connected to, as it may change (`Core.open_pull`).
    """
    url = (url or "").strip()
    if not url:
        raise UrlError("url", "needed for a stream that is pulled", code="url.missing")
    if len(url) > URL_MAX or _UNFIT.search(url):
        raise UrlError(
            "url",
            f"at most {URL_MAX} characters, without blanks and control characters",
            code="url.characters",
            most=URL_MAX,
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError("url", str(error)) from error
    if parts.scheme not in NATIVE and parts.scheme.removeprefix(FORCED) not in protocols:
        raise UrlError("url", _beginnings(protocols), code="url.scheme")
    if not host:
        raise UrlError("url", "has no host", code="url.host")
    if port == 0:
        raise UrlError("url", "no port 0", code="url.port")
    if wrong := wrong_transport(url):
        raise UrlError("url", wrong, code="url.transport")
    if not allow_private and _is_private(host):
        raise UrlError(
            "url",
            "an address of a private network: it is pulled from only where pull.allow_private is set",
            code="url.private",
        )
    return url


def shown_url(url: str) -> str:
    """A URL for those who may not know its user, password and query."""
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}{shown_transport(url)}"


def _beginnings(protocols: Collection[str]) -> str:
    """What a URL may begin with here, for people."""
    others = sorted(NATIVE | set(protocols))
    forced = f"; {FORCED} before one of {', '.join(sorted(protocols))} leaves it to ffmpeg" if protocols else ""
    missing = "" if protocols else "; other protocols only where ffmpeg.protocols names them"
    return f"begins with one of {', '.join(f'{one}://' for one in others)} and a host{forced}{missing}"


def _is_private(host: str) -> bool:
    """Whether a host is known, without asking anybody, to be no public one."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not address.is_global or address.is_multicast
