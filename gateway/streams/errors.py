"""What may be wrong with streams."""

from gateway.errors import ConflictError, GatewayError, InvalidError


class StreamStoppedError(GatewayError):
    """The stream is not active: it has no address."""


class StreamNameError(ConflictError):
    """A stream has this name, in this project or another."""


class AutomaticStreamError(GatewayError):
    """The stream is a channel's: it comes, changes and goes with the channel."""


class StreamActiveError(ConflictError):
    """While the stream is active, its access type stays."""


class StreamDeletingError(ConflictError):
    """The stream is being deleted."""


class UrlError(InvalidError):
    """Nothing can be pulled from this URL."""


class CodingError(InvalidError):
    """Streams of this coding are not made by hand."""


class UnreadableInputError(ConflictError):
    """The stored URL of an input that would stay cannot be decrypted."""


class InputMovedError(ConflictError):
    """Another input has this number by now."""


class UnreachableError(GatewayError):
    """The address that the stream is pulled from cannot be connected to."""


class NotPublishingError(GatewayError):
    """The stream is to be pulled, and its address answers, but no video comes."""


class NotPushedError(ConflictError):
    """The stream is not of the kind that is pushed."""
