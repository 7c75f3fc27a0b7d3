"""How many sessions run at once, all in all and for one client's address. Pure."""

from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Final

_SITE_BITS: Final = 64
"""What of an IPv6 address is one client's: it may choose the rest as it likes (RFC 4291 §2.5.1)."""


class BusyError(Exception):
    """As many sessions run as may."""


class CrowdedError(Exception):
    """One client's address has as many sessions as it may have."""


class Places:
    """Whoever takes a place frees it once, with the key that it was given."""

    def __init__(self, total: int, each: int) -> None:
        """`each`: for one address; 0: as many as there are."""
        self._total = total
        self._each = each
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> str:
        """A place for a client, empty if nobody knows where it is; the key to free it. BusyError, CrowdedError."""
        key = key_of(address)
        if self._each and key and self._taken[key] >= self._each:
            raise CrowdedError(f"{self._each} WebRTC sessions of {address} run, and more may not")
        if self._taken.total() >= self._total:
            raise BusyError(f"{self._total} WebRTC sessions run, and more may not")
        self._taken[key] += 1
        return key

    def free(self, key: str) -> None:
        """Gives a place back."""
        self._taken[key] -= 1
        if self._taken[key] <= 0:
            del self._taken[key]


def key_of(address: str) -> str:
    """What clients are told apart by: an IPv4 address, an IPv6 network of 64 bits; empty for what is no address."""
    try:
        read = ip_address(address)
    except ValueError:
        return ""
    if isinstance(read, IPv6Address):
        if read.ipv4_mapped is not None:
            return str(read.ipv4_mapped)
        return str(IPv6Address(int(read) >> _SITE_BITS << _SITE_BITS))
    return str(read)
