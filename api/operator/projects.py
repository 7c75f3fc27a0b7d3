"""Projects, for account administrators; everybody else sees the own ones."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody

from api.context import OWN, Authorised, Services, needs
from api.services import Gateway
from gateway.accounts.model import Project, Role


class ProjectView(msgspec.Struct, kw_only=True):
    """`own_quotas` were given to the project; `quotas` are what counts."""

    project_id: str
    name: str
    created_at: datetime
    subscribed_at: datetime | None
    own_quotas: Mapping[str, int]
    quotas: Mapping[str, int]


class ProjectList(msgspec.Struct, kw_only=True):
    projects: list[ProjectView]


class NewProject(msgspec.Struct, kw_only=True):
    name: str
    """First part of its play addresses; it never changes."""
    quotas: dict[str, int] = msgspec.field(default_factory=dict)


class ProjectChange(msgspec.Struct, kw_only=True):
    quotas: dict[str, int]
    """What is not named has the quota of the settings."""


class ProjectController(Controller):
    path = "/projects"
    tags = ("projects",)

    @get(summary="All projects for an account administrator, else those that I may enter", opt=OWN)
    async def index(self, request: Authorised, gateway: Services) -> ProjectList:
        return ProjectList(projects=[_view(gateway, one) for one in await gateway.projects.list(request.auth)])

    @post(status_code=201, summary="Make a project, and be its administrator", opt=needs(Role.ADMINISTRATOR))
    async def create(self, data: JSONBody[NewProject], request: Authorised, gateway: Services) -> ProjectView:
        return _view(gateway, await gateway.projects.add(request.auth, data.name, data.quotas, gateway.clock()))

    @get("/{project:str}", summary="A project", opt=OWN)
    async def show(self, project: FromPath[str], request: Authorised, gateway: Services) -> ProjectView:
        return _view(gateway, await gateway.projects.get(request.auth, project))

    @put("/{project:str}", summary="Give a project quotas of its own", opt=needs(Role.ADMINISTRATOR))
    async def change(
        self, project: FromPath[str], data: JSONBody[ProjectChange], request: Authorised, gateway: Services
    ) -> ProjectView:
        return _view(gateway, await gateway.projects.set_quotas(request.auth, project, data.quotas))

    @delete("/{project:str}", summary="Delete a project that is empty", opt=needs(Role.ADMINISTRATOR))
    async def remove(self, project: FromPath[str], request: Authorised, gateway: Services) -> None:
        await gateway.projects.delete(request.auth, project)


def _view(gateway: Gateway, project: Project) -> ProjectView:
    return ProjectView(
        project_id=project.project_id,
        name=project.name,
        created_at=project.created_at,
        subscribed_at=project.subscribed_at,
        own_quotas=project.quotas,
        quotas=gateway.projects.total(project),
    )
