"""What may be wrong with a credential."""

from gateway.errors import ConflictError, GatewayError


class CredentialExistsError(ConflictError):
    """The user name is taken, in this project or another."""


class CredentialInUseError(ConflictError):
    """Devices authenticate with it."""


class CredentialBusyError(ConflictError):
    """A device that authenticates with it is sending video: its password may not change now."""


class WrongPasswordError(GatewayError):
    """The password given as the present one is another."""


class PasswordIsNameError(GatewayError):
    """The password is the user name, or the user name backwards."""


class PushKeyExistsError(ConflictError):
    """The project has an AK/SK credential of this name."""


class PushKeyInUseError(ConflictError):
    """Streams are pushed with it."""
