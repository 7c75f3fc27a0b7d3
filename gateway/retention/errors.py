"""What may be wrong with retention."""

from gateway.errors import GatewayError


class RetainingError(GatewayError):
    """The stream is being retained: it must be stopped before anything else of its retention changes."""


class PathError(GatewayError):
    """Slices cannot be stored under this path."""


class NotAuthorisedError(GatewayError):
    """The object storage refuses the gateway's access keys."""


class NoStorageError(NotAuthorisedError):
    """The gateway knows of no object storage."""


class BucketDeniedError(GatewayError):
    """The bucket is not there, is not for this project, or may not be written."""


class NoBucketError(BucketDeniedError):
    """There is no such bucket."""


class BucketReadError(BucketDeniedError):
    """The bucket may be written, but what is in it not looked at."""


class BucketRightsError(BucketDeniedError):
    """The bucket may be written, but nothing in it deleted."""


class BucketUnreachableError(GatewayError):
    """The object storage does not answer, or answers that it cannot."""


class DirectoryError(BucketUnreachableError):
    """The local directory cannot be made."""


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
