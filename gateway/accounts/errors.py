"""What may be wrong with accounts."""

from gateway.errors import ConflictError, GatewayError, UnavailableError


class LoginError(GatewayError):
    """Name or password is wrong; which of the two is not told."""


class TooManyAttemptsError(GatewayError):
    """Log-ins of this user, or from this address, failed too often; another may be tried after `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many log-ins failed: try again in {max(1, round(wait))} s")
        self.wait = wait


class TokenError(GatewayError):
    """The token is unknown, expired or taken back."""


class ForbiddenError(GatewayError):
    """The user may not do this, or not in this project."""


class AnotherProjectError(ForbiddenError):
    """The request names two projects."""


class AccountsAwayError(UnavailableError):
    """Nobody can be let in: the accounts cannot be looked up now."""


class PasswordError(GatewayError):
    """The password given as the present one is another."""


class AlreadySubscribedError(ConflictError):
    """The project has subscribed before."""


class NotSubscribedError(GatewayError):
    """The project must subscribe first."""


class SignatureError(TokenError):
    """The request's signature is missing something, too old, used before, or wrong."""
