"""Which things of a project a caller sees and acts on; every list and look-up by a caller takes one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """A project, and which devices of it.

    Restricted, it holds the devices of the given groups alone, with their channels, streams, events and figures;
    everything else of the project is as if it were not there.
    """

    project_id: str
    groups: frozenset[str] | None = None
    """Ids of device groups; None: no restriction. No group at all means nothing."""

    @property
    def is_restricted(self) -> bool:
        return self.groups is not None
