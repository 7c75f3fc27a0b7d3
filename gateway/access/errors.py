"""What may be wrong with access strategies."""

from gateway.errors import ConflictError


class StrategyActiveError(ConflictError):
    """The channel's access strategy is active: it alone invites and cancels."""
