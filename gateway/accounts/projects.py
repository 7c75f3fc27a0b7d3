"""Projects: made, given quotas and taken away by account administrators."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from gateway.accounts.errors import ForbiddenError
from gateway.accounts.model import Access, Project, Role
from gateway.accounts.quotas import Quotas
from gateway.accounts.rules import check_project_name
from gateway.errors import InvalidError, NotFoundError
from gateway.store import Store

QUOTA_MAX: Final = 1_000_000_000


class Projects:
    """A project's name is the first part of its play addresses, so it is never changed."""

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas

    async def list(self, by: Access) -> Sequence[Project]:
        """All of them for an account administrator, else those that the user may enter."""
        if by.user.account_admin:
            return await self._store.accounts.projects()
        return await self._store.accounts.projects_of(by.user.user_id)

    async def get(self, by: Access, project_id: str) -> Project:
        """NotFoundError."""
        for project in await self.list(by):
            if project.project_id == project_id:
                return project
        raise NotFoundError("project", project_id)

    async def add(self, by: Access, name: str, quotas: Mapping[str, int], at: datetime) -> Project:
        """Makes a project, whose administrator is who made it. InvalidError, ConflictError, ForbiddenError."""
        _account_admins_only(by)
        check_project_name(name)
        self._check(quotas)
        project = Project(
            project_id=secrets.token_hex(16), name=name, created_at=at, subscribed_at=None, quotas=dict(quotas)
        )
        await self._store.accounts.add_project(project)
        await self._store.members.put(by.user.user_id, project.project_id, Role.ADMINISTRATOR, None, at)
        return project

    async def set_quotas(self, by: Access, project_id: str, quotas: Mapping[str, int]) -> Project:
        """What the project may have in place of the settings' quotas; what is not named has those of the settings.

        InvalidError, NotFoundError, ForbiddenError.
        """
        _account_admins_only(by)
        self._check(quotas)
        await self._store.accounts.set_quotas(project_id, dict(quotas))
        return await self.get(by, project_id)

    async def delete(self, by: Access, project_id: str) -> None:
        """NotFoundError, ConflictError unless it is empty, ForbiddenError."""
        _account_admins_only(by)
        await self._store.accounts.delete_project(project_id)

    def total(self, project: Project) -> Mapping[str, int]:
        """All quotas of a project."""
        return {name: self._quotas.of(project, name) for name in self._quotas.defaults}

    def _check(self, quotas: Mapping[str, int]) -> None:
        for name, number in quotas.items():
            if name not in self._quotas.defaults:
                raise InvalidError("quotas", f"{name[:64]} is none of {', '.join(self._quotas.defaults)}")
            if not 0 <= number <= QUOTA_MAX:
                raise InvalidError("quotas", f"{name} is 0 to {QUOTA_MAX}")


def _account_admins_only(by: Access) -> None:
    if not by.user.account_admin:
        raise ForbiddenError("only an account administrator looks after projects")
