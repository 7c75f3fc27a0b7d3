"""What a project may have. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.accounts.model import Project


@dataclass(frozen=True, slots=True)
class Quotas:
    """The quotas of every project that was not given its own."""

    defaults: Mapping[str, int]

    def of(self, project: Project, resource: str) -> int:
        return project.quotas.get(resource, self.defaults[resource])
