"""Back-off for log-ins that fail, by address and by user name. Pure: times are monotonic seconds.

Strangers guess from one address at many names, or from many addresses at one name; both are slowed. Nobody is shut out
for long: a user whose name is guessed at waits half a minute at most.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

CAPACITY: Final = 16_384
"""Names and addresses remembered, each; the longest unused is forgotten first."""
FORGET_SECONDS: Final = 900.0
"""Without a failure for so long, everything is forgiven."""
AT_ONCE: Final = 8
"""Log-ins under way beside the failures that are forgiven: a crowd that begins work is no attack."""


@dataclass(slots=True)
class _Tally:
    failures: int = 0
    under_way: int = 0
    last: float = 0.0
    until: float = 0.0


class _Limit:
    """The first `free` failures cost nothing; each after that doubles the wait, from 1 s up to `longest`."""

    def __init__(self, free: int, longest: float, capacity: int) -> None:
        self._free, self._longest, self._capacity = free, longest, capacity
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tallies)

    def wait(self, now: float, key: str) -> float:
        """Seconds until one more may be tried; 0: now."""
        tally = self._tallies.get(key)
        if tally is None:
            return 0.0
        if tally.until > now:
            return tally.until - now
        if now - tally.last > FORGET_SECONDS:
            tally.failures = 0
        beyond = tally.under_way >= (AT_ONCE if tally.failures < self._free else 1)
        return 1.0 if beyond else 0.0

    def begin(self, now: float, key: str) -> None:
        tally = self._tallies.pop(key, None) or _Tally(last=now)
        tally.under_way += 1
        self._tallies[key] = tally
        if len(self._tallies) > self._capacity:
            self._tallies.popitem(last=False)

    def end(self, now: float, key: str, *, failed: bool, forgive: bool = False) -> None:
        tally = self._tallies.get(key)
        if tally is None:
            return
        tally.under_way = max(0, tally.under_way - 1)
        if failed:
            tally.failures += 1
            tally.last = now
            beyond = tally.failures - self._free
            if beyond >= 0:
                tally.until = now + min(self._longest, 2.0 ** min(beyond, 20))
        elif forgive:
            tally.failures = 0
        if not tally.failures and not tally.under_way:
            del self._tallies[key]


class AddressLimits:
    """By address alone. Ask `wait`; if it is 0, `begin`, check, and `end`. Programs on this machine have no address."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._limit = _Limit(free=20, longest=300.0, capacity=capacity)

    def __len__(self) -> int:
        return len(self._limit)

    def wait(self, now: float, address: str) -> float:
        """Seconds until one more may be tried; 0: now."""
        network = _network(address)
        return self._limit.wait(now, network) if network else 0.0

    def begin(self, now: float, address: str) -> None:
        if network := _network(address):
            self._limit.begin(now, network)

    def end(self, now: float, address: str, *, failed: bool) -> None:
        """Success forgives nothing: whoever has one password may be guessing at others."""
        if network := _network(address):
            self._limit.end(now, network, failed=failed)


class LoginLimits:
    """Ask `wait`; if it is 0, `begin`, check the password, and `end`. Programs on this machine have no address."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.refused = 0
        self._names = _Limit(free=5, longest=30.0, capacity=capacity)
        self._addresses = AddressLimits(capacity)

    def __len__(self) -> int:
        return len(self._names) + len(self._addresses)

    def wait(self, now: float, name: str, address: str) -> float:
        """Seconds until this log-in may be tried; counted in `refused` if that is not now."""
        wait = max(self._names.wait(now, name), self._addresses.wait(now, address))
        self.refused += wait > 0
        return wait

    def begin(self, now: float, name: str, address: str) -> None:
        self._names.begin(now, name)
        self._addresses.begin(now, address)

    def end(self, now: float, name: str, address: str, *, failed: bool) -> None:
        """Success forgives the name, not the address."""
        self._names.end(now, name, failed=failed, forgive=True)
        self._addresses.end(now, address, failed=failed)


def _network(address: str) -> str:
    """What is slowed together: an IPv4 address, an IPv6 network of 64 bits; empty for this machine or none."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if found.is_loopback:
        return ""
    if isinstance(found, IPv6Address):
        return f"{int(found) >> 64:x}::"
    return str(found)
