"""Which of our addresses a device can reach. Used for SIP (Contact, Via) and for media (`c=` of an SDP)."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


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


def is_private_to(peer: str, host: str) -> bool:
    """Whether `host`, named by a peer, cannot be where the peer sent from: another address, or none at all."""
    return _address(host) != _address(peer)


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
