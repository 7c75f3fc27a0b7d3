"""Where a message came from and where its answers go: one UDP pair of addresses or one TCP connection."""

from typing import NamedTuple


class Address(NamedTuple):
    """A numeric host (IPv4 or IPv6, without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flow(NamedTuple):
    """A way to one peer, hashable and cheap; requests to a device go down the flow that it opened (RFC 5626 in spirit).

    `transport` is "UDP" or "TCP"; `local` is our address as the peer sees it on the wire, `remote` the peer's
    source address. `connection` counts TCP connections from 1, so that a new connection between the same
    addresses is another flow; it is 0 for UDP.
    """

    transport: str
    local: Address
    remote: Address
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself (RFC 3261 §17: no timers A, E, G then)."""
        return self.transport != "UDP"

    def __str__(self) -> str:
        number = f"#{self.connection}" if self.connection else ""
        return f"{self.transport}{number} {self.local}–{self.remote}"
