"""What a sender may be. Pure."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gateway.errors import InvalidError
from gateway.senders.model import SenderOrder, SenderTransport

PORT_MAX: Final = 65_535
SSRC_MAX: Final = 2**32 - 1
PAYLOAD_TYPE_MAX: Final = 127
WAIT_MAX: Final = 600.0


def check(order: SenderOrder, *, allow_private: bool) -> None:
    """InvalidError names what may not be so.

    With `allow_private` false nothing is sent to addresses that are not of the public internet: who may order senders
    could otherwise make the gateway flood, or look into, the network that it stands in.
    """
    passive = order.transport is SenderTransport.TCP_PASSIVE
    if order.over is not None:
        _check_over(order)
    else:
        _check_host(order.host, passive=passive, allow_private=allow_private)
    for field, value, least, most in (
        ("port", order.port, 0 if passive or order.over is not None else 1, PORT_MAX),
        ("ssrc", order.ssrc, 0, SSRC_MAX),
        ("payload_type", order.payload_type, 0, PAYLOAD_TYPE_MAX),
        ("local_port", order.local_port, 0, PORT_MAX - 1),
    ):
        if not least <= value <= most:
            raise InvalidError(field, f"{least} to {most}", code="range", low=least, high=most)
    if order.local_port and order.transport is SenderTransport.TCP_ACTIVE:
        raise InvalidError("local_port", "one that connects has no port of its own")
    if order.transport is SenderTransport.UDP and order.port == PORT_MAX:
        raise InvalidError("port", "reports need the port above", code="port.reports")
    if not order.video and not order.audio:
        raise InvalidError("video", "video, audio or both")
    if order.report_timeout < 0 or not 0 < order.wait <= WAIT_MAX:
        raise InvalidError("wait", f"up to {WAIT_MAX:.0f} seconds")


def _check_over(order: SenderOrder) -> None:
    """The receiver's connection decides where to, and the receiver alone hears what comes."""
    for field, told in (
        ("host", order.host is not None),
        ("port", order.port),
        ("local_port", order.local_port),
        ("report_timeout", order.report_timeout),
    ):
        if told:
            raise InvalidError(field, "of no use over the connection of a stream")


def _check_host(host: str | None, *, passive: bool, allow_private: bool) -> None:
    if host is None:
        if passive and allow_private:
            return
        raise InvalidError("host", "who may connect must be told" if passive else "needed", code="host.missing")
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError as error:
        raise InvalidError("host", "a literal IP address", code="host.literal") from error
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        raise InvalidError("host", "the address of one target", code="host.one")
    if not allow_private and not address.is_global:
        raise InvalidError(
            "host",
            "an address of a private network: it is sent to only where send.allow_private is set",
            code="host.private",
        )
