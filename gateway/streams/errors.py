"""What may be wrong with streams."""

from gateway.errors import GatewayError


class StreamStoppedError(GatewayError):
    """The stream is not active: it has no address."""
