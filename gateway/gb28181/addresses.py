"""Which of our addresses a device can reach. Used for SIP (Contact, Via) and for media (`c=` of an SDP)."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
"""Connecting there means connecting to oneself (RFC 1122 §3.2.1.3)."""


@dataclass(frozen=True, slots=True)
class Advertised:
    """Devices in `network` reach us at `host`, and at `port` if it is not None."""

    network: Network
    host: str
    port: int | None = None


def read_rules(rules: Iterable[tuple[str, str]]) -> tuple[Advertised, ...]:
    """Reads (network, `host` or `host:port`) pairs, the most particular network first. Raises ValueError."""
    read = [Advertised(ip_network(network, strict=False), *_split(address)) for network, address in rules]
    return tuple(sorted(read, key=lambda rule: -rule.network.prefixlen))


def advertise(rules: Iterable[Advertised], peer: str, local: tuple[str, int]) -> tuple[str, int]:
    """The (host, port) to tell a peer: of the first rule whose network holds it, else our local address of the flow."""
    address = _address(peer)
    if address is not None:
        for rule in rules:
            if address in rule.network:
                return rule.host, local[1] if rule.port is None else rule.port
    return local


def is_near(registered: str, named: str) -> bool:
    """Whether media may come from, or be fetched from, the address `named` by a device that registered from another.

    From the same host always; from others only within private networks, where an NVR's own cameras and a platform's
    media servers stand. No device may aim us at the world, at ourselves, or at what only this machine's link knows:
    RFC 3264 is silent on that.
    """
    here, there = _address(registered), _address(named)
    if here is None or there is None:
        return False
    odd = there.is_loopback or there.is_link_local or there.is_multicast or there.is_reserved or there in THIS_NETWORK
    return here == there or (here.is_private and there.is_private and not odd)


def _address(text: str) -> Address | None:
    """The address; an IPv4 one in IPv6 clothes (`::ffff:192.0.2.1`) is given as IPv4."""
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _split(text: str) -> tuple[str, int | None]:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]") or (":" in host and not host.endswith("]")):
        return text.strip("[]"), None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{text!r}: {port!r} is no port")
    return host.strip("[]"), int(port)
