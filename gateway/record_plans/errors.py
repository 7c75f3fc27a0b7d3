"""What may be wrong with record plans."""

from gateway.errors import ConflictError


class PlanNameError(ConflictError):
    """The project has a record plan of this name."""


class PlanInUseError(ConflictError):
    """Streams have the record plan."""
