"""What may be wrong with retention."""

from gateway.errors import GatewayError


class RetainingError(GatewayError):
    """The stream is being retained: it must be stopped before anything else of its retention changes."""


class PathError(GatewayError):
    """Slices cannot be stored under this path."""


class NotAuthorisedError(GatewayError):
    """The gateway has no access keys for the object storage, or they are refused."""


class BucketDeniedError(GatewayError):
    """The bucket is not there, is not for this project, or may not be written."""


class BucketUnreachableError(GatewayError):
    """The object storage does not answer, or answers that it cannot."""


class NotRetainedError(GatewayError):
    """Nothing of the stream is or was retained."""


class NotFlowingError(GatewayError):
    """Nothing flows of the stream now."""


class IntervalTooLongError(GatewayError):
    """More time was asked for than is given at once."""


class IntervalOrderError(GatewayError):
    """An interval must begin before it ends."""


class H265Error(GatewayError):
    """H.265 cannot be written in the format that was asked for."""
