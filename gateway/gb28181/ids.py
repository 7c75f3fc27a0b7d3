"""The identifiers of GB/T 28181: what a code names, and what we accept as one (GB/T 28181-2022 annex E).

A code's type digits are advice, never a gate: cheap devices ship with wrong ones. Whether a device may register is
decided by its provisioning alone.
"""

import re
from enum import Enum
from typing import Final

from gateway.devices.model import ChannelId, DeviceId

_IDENTITY: Final = re.compile(r"[0-9A-Za-z]{1,32}")
_REGION_LENGTHS: Final = frozenset({2, 4, 6, 8})


class IdError(ValueError):
    """The text cannot be an identifier."""


class Kind(Enum):
    """What digits 11 to 13, or the length, say that a code names."""

    DEVICE = "device"
    VIDEO = "video"
    ALARM_INPUT = "alarm input"
    ALARM_OUTPUT = "alarm output"
    AUDIO = "audio"
    PERIPHERAL = "peripheral"
    SYSTEM = "system"
    GROUP = "business group"
    ORGANISATION = "virtual organisation"
    USER = "user"
    REGION = "region"
    UNKNOWN = "unknown"


_EXACT: Final = {
    131: Kind.VIDEO,
    132: Kind.VIDEO,
    134: Kind.ALARM_INPUT,
    135: Kind.ALARM_OUTPUT,
    136: Kind.AUDIO,
    137: Kind.AUDIO,
    140: Kind.ALARM_OUTPUT,
    215: Kind.GROUP,
    216: Kind.ORGANISATION,
}
_RANGES: Final = (
    (111, 130, Kind.DEVICE),
    (131, 199, Kind.PERIPHERAL),
    (200, 299, Kind.SYSTEM),
    (300, 499, Kind.USER),
)


def kind_of(code: str) -> Kind:
    """What a code names, as far as it says; UNKNOWN for codes outside the standard's layout."""
    if not (code.isascii() and code.isdigit()):
        return Kind.UNKNOWN
    if len(code) in _REGION_LENGTHS:
        return Kind.REGION
    if len(code) != 20:
        return Kind.UNKNOWN
    number = int(code[10:13])
    if (exact := _EXACT.get(number)) is not None:
        return exact
    return next((kind for low, high, kind in _RANGES if low <= number <= high), Kind.UNKNOWN)


def domain_of(code: str) -> str:
    """The first ten digits: the SIP domain and digest realm of a platform's code."""
    return code[:10]


def device_id(text: str) -> DeviceId:
    """Accepts what may name a device: 1 to 32 letters and digits. Raises IdError."""
    if _IDENTITY.fullmatch(text) is None:
        raise IdError(f"{text[:40]!r} is not an identifier: 1 to 32 letters and digits")
    return DeviceId(text)


def channel_id(text: str) -> ChannelId:
    """Accepts what may name a channel, as `device_id` does. Raises IdError."""
    return ChannelId(device_id(text))


def is_identity(text: str) -> bool:
    """Whether the text may name a device, a channel or a directory node."""
    return _IDENTITY.fullmatch(text) is not None
