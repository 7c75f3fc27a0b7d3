"""What a fleet is told: the server, its devices, their content and their manners."""

import re
from dataclasses import dataclass, field
from typing import Final

from gateway.simulator.clip import ClipSpec
from gateway.simulator.misbehaviour import Misbehaviour
from gateway.simulator.rtp_sender import MediaTransport

_SERVER: Final = re.compile(r"(?:sip:)?([0-9A-Za-z]{1,32})@(?:\[([0-9A-Fa-f:.]+)\]|([^:@\s]+))(?::([0-9]{1,5}))?")
_SIP_PORT: Final = 5060


class ConfigError(ValueError):
    """What was asked for cannot be; the text says why."""


@dataclass(frozen=True)
class Server:
    """The platform: its 20-digit ID, address and domain (by default the first ten digits of the ID)."""

    id: str
    host: str
    port: int = _SIP_PORT
    domain: str = ""

    @staticmethod
    def parse(text: str) -> "Server":
        """Reads `sip:ID@host:port` (brackets around IPv6); raises ConfigError."""
        match = _SERVER.fullmatch(text.strip())
        if match is None or int(match[4] or _SIP_PORT) > 0xFFFF:
            raise ConfigError(f"{text!r} is not of the form sip:ID@host:port")
        return Server(match[1], match[2] or match[3], int(match[4] or _SIP_PORT), match[1][:10])

    @property
    def realm(self) -> str:
        return self.domain or self.id[:10]


@dataclass(frozen=True)
class ChannelSpec:
    """One video channel."""

    id: str
    name: str


@dataclass(frozen=True)
class DeviceSpec:
    """One device. An IPC is its own only channel. `username` is the device's ID unless stated."""

    id: str
    name: str
    channels: tuple[ChannelSpec, ...]
    password: str
    username: str = ""

    @property
    def is_ipc(self) -> bool:
        return len(self.channels) == 1 and self.channels[0].id == self.id


@dataclass(frozen=True)
class FleetConfig:
    """How all devices of a fleet behave.

    `transport` carries SIP ("UDP" or "TCP"). `media` are the transports that calls may use; others are refused with
    488. `live` encodes pictures with the current time while a call runs, instead of looping a clip. `shared_socket`
    lets all devices use one SIP socket in place of one each. `starts_per_s` bounds the registrations at the beginning.
    """

    server: Server
    devices: tuple[DeviceSpec, ...]
    transport: str = "UDP"
    host: str = ""
    media: frozenset[MediaTransport] = frozenset(MediaTransport)
    clip: ClipSpec = field(default_factory=ClipSpec)
    live: bool = False
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    expires_s: int = 3600
    keepalive_s: float = 60.0
    shared_socket: bool = False
    starts_per_s: float = 200.0
    gb_version: str = "2.0"


def plan_devices(
    server: Server, *, ipcs: int = 0, nvrs: tuple[int, ...] = (), password: str, username: str = "", first: int = 1
) -> tuple[DeviceSpec, ...]:
    """IPCs (type 132) and NVRs (type 118, with as many channels of type 131 each), numbered from `first`."""
    prefix = f"{server.id[:10]:0<10}"
    devices = [_ipc(f"{prefix}1320{first + number:06}", number, password, username) for number in range(ipcs)]
    channel = first
    for number, count in enumerate(nvrs):
        code = f"{prefix}1180{first + number:06}"
        names = (f"NVR {number + 1} channel {index + 1}" for index in range(count))
        channels = tuple(ChannelSpec(f"{prefix}1310{channel + index:06}", name) for index, name in enumerate(names))
        channel += count
        devices.append(DeviceSpec(code, f"NVR {number + 1}", channels, password, username))
    return tuple(devices)


def _ipc(code: str, number: int, password: str, username: str) -> DeviceSpec:
    name = f"IPC {number + 1}"
    return DeviceSpec(code, name, (ChannelSpec(code, name),), password, username)


def parse_nvrs(text: str) -> tuple[int, ...]:
    """Reads `2x4` (two NVRs of four channels), `3` (three of four channels) or `4,16,1`; raises ConfigError."""
    try:
        if "x" in text:
            count, channels = (int(part) for part in text.split("x"))
            return (channels,) * count
        return tuple(int(part) for part in text.split(",")) if "," in text else (4,) * int(text or 0)
    except ValueError:
        raise ConfigError(f"{text!r} is not of the form 2x4") from None
