"""Asks a running gateway about a channel over its operator API: what is wrong, and what comes to its port."""

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any, BinaryIO, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from rich.console import Console
from rich.text import Text

from gateway.errors import GatewayError

PATIENCE: Final = 30.0
"""Seconds for an answer, beyond the time that a capture takes."""
PAGE: Final = 1000
CAPTURE_BYTES_MAX: Final = 128 << 20
MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("✓", "green"),
    "waiting": ("…", "cyan"),
    "warning": ("!", "yellow"),
    "error": ("✗", "red"),
}


class LiveError(GatewayError):
    """The gateway could not be asked, or refused; the text is for people."""


class LiveGateway:
    """The operator API at `url`, as far as inspection needs it. Calls block."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    @classmethod
    def log_in(cls, url: str, name: str, password: str) -> "LiveGateway":
        """LiveError for a wrong name or password."""
        user = {"name": name, "password": password, "domain": {"name": name}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        request = Request(f"{_checked(url)}/v3/auth/tokens", json.dumps(body).encode(), _JSON)
        with _open(request, PATIENCE) as answer:
            return cls(url, answer.headers["X-Subject-Token"] or "")

    def find(self, text: str) -> tuple[str, str]:
        """Device and channel of `DEVICE/CHANNEL`, or of a channel's id alone if only one has it. LiveError."""
        device, slash, channel = text.partition("/")
        if slash:
            return device, channel
        return only(text, [found for found in self._channels() if found[1] == text])

    def diagnosis(self, device_id: str, channel_id: str) -> dict[str, Any]:
        """What `GET …/diagnosis` answers."""
        return self._get(f"{_path(device_id, channel_id)}/diagnosis")

    def packets(self, device_id: str, channel_id: str, seconds: float, into: BinaryIO) -> int:
        """Writes the capture into a file and gives its size in bytes."""
        request = self._request(f"{_path(device_id, channel_id)}/packets?{urlencode({'seconds': seconds})}")
        size = 0
        with _open(request, seconds + PATIENCE) as answer:
            try:
                while size < CAPTURE_BYTES_MAX and (piece := answer.read1(1 << 16)):
                    size += into.write(piece)
            except (OSError, HTTPException) as error:
                raise LiveError(f"the capture broke off after {size} bytes: {error}") from error
        return size

    def _channels(self) -> Iterator[tuple[str, str]]:
        offset, total = 0, 1
        while offset < total:
            page = self._get(f"/channels?{urlencode({'offset': offset, 'limit': PAGE})}")
            yield from ((one["device_id"], one["channel_id"]) for one in page["channels"])
            offset, total = offset + PAGE, page["total"]

    def _get(self, path: str) -> dict[str, Any]:
        with _open(self._request(path), PATIENCE) as answer:
            try:
                found: dict[str, Any] = json.load(answer)
            except (OSError, ValueError, HTTPException) as error:
                raise LiveError(f"{self._url}: not an answer of a gateway: {error}") from error
            return found

    def _request(self, path: str) -> Request:
        return Request(f"{_checked(self._url)}/gb/v1{path}", headers={"X-Auth-Token": self._token})


def only(text: str, found: list[tuple[str, str]]) -> tuple[str, str]:
    """The one channel that was found; LiveError if there is none, or more."""
    if not found:
        raise LiveError(f"no channel {text}")
    if len(found) > 1:
        raise LiveError(f"several devices have a channel {text}: say {' or '.join('/'.join(one) for one in found[:3])}")
    return found[0]


def show_diagnosis(diagnosis: Mapping[str, Any], console: Console) -> None:
    """The steps with their marks, and what to do where something is wrong."""
    console.print(Text(f"{diagnosis['device_id']} / {diagnosis['channel_id']}", style="bold"))
    for finding in diagnosis["findings"]:
        mark, colour = MARKS.get(finding["verdict"], ("?", ""))
        line = Text(f"{mark} {finding['step']:<13}", style=colour)
        console.print(line + Text(_clean(finding["text"]), style="default"))
        if finding["advice"]:
            console.print(Text(f"{'':15}→ {_clean(finding['advice'])}", style="dim"))


_JSON: Final = {"Content-Type": "application/json"}


def _path(device_id: str, channel_id: str) -> str:
    return f"/channels/{quote(device_id, safe='')}/{quote(channel_id, safe='')}"


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise LiveError(f"{url!r} is no http address")
    return url.rstrip("/")


def _open(request: Request, seconds: float) -> Any:
    """The answer; LiveError in the gateway's own words, or why there is none."""
    try:
        return urlopen(request, timeout=seconds)
    except HTTPError as error:
        with error:
            raise LiveError(_words(error)) from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise LiveError(f"{request.host}: {reason} (does the gateway run there?)") from error


def _words(error: HTTPError) -> str:
    try:
        body = json.loads(error.read(1 << 16))
        return str(body.get("detail") or body["error_msg"])
    except (OSError, ValueError, KeyError, AttributeError):
        return f"{error.code} {error.reason}"


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else "·" for character in text)
