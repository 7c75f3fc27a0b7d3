"""What may be wrong with devices and channels."""

from gateway.errors import ConflictError, GatewayError


class DeviceExistsError(ConflictError):
    """A device has this id, in this project or another."""


class DeviceRegisteredError(ConflictError):
    """The device is registered and may not be deleted."""


class ChannelRegisteredError(ConflictError):
    """The channel's device is registered: the channel may not be deleted."""


class ChannelBusyError(ConflictError):
    """The channel is invited: the name of its stream may not change now."""


class StreamExistsError(ConflictError):
    """A stream has this name."""


class NotNvrError(GatewayError):
    """Only an NVR's list of channels can be refreshed."""


class DeviceOfflineError(GatewayError):
    """The device is not registered, or is offline."""


class RefreshingError(GatewayError):
    """The list of channels is being refreshed already."""


class TcpPriorityError(GatewayError):
    """Channels of an NVR cannot prefer TCP."""


class NotInvitableError(ConflictError):
    """The channel is invited already, or offline."""


class NotInvitedError(ConflictError):
    """The channel is not invited."""
