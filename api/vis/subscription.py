"""Subscription of a project (§4.1)."""

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath

from api.context import Authorised, Services
from api.services import Gateway
from api.vis.common import time
from gateway.accounts.model import Project

QUOTAS = ("password", "consecutive_access_time", "random_access_time", "stream", "active_stream", "device", "aksk")


class Quota(msgspec.Struct, kw_only=True):
    total: int
    used: int


class Quotas(msgspec.Struct, kw_only=True):
    """Times are minutes."""

    password: Quota
    consecutive_access_time: Quota
    random_access_time: Quota
    stream: Quota
    active_stream: Quota
    device: Quota
    aksk: Quota


class Subscription(msgspec.Struct, kw_only=True):
    user_id: str
    sip_ip: str
    sip_port: str
    quota: Quotas
    created_at: str
    is_subscribed: bool


class SubscriptionController(Controller):
    path = "/{project_id:str}/subscription"
    tags = ("subscription",)

    @post(status_code=200, summary="Subscribe the project")
    async def subscribe(self, project_id: FromPath[str], request: Authorised, gateway: Services) -> Subscription:
        project = request.auth.project
        await gateway.accounts.subscribe(project, gateway.clock())
        return await _answer(gateway, project, subscribed=True)

    @get(summary="Whether the project has subscribed, where its devices register, and its quotas")
    async def show(self, project_id: FromPath[str], request: Authorised, gateway: Services) -> Subscription:
        project = request.auth.project
        return await _answer(gateway, project, subscribed=project.subscribed_at is not None)


async def _answer(gateway: Gateway, project: Project, *, subscribed: bool) -> Subscription:
    owner = await gateway.accounts.owner(project.project_id)
    used = await gateway.accounts.used(project.project_id)
    at = project.subscribed_at or (gateway.clock() if subscribed else project.created_at)
    return Subscription(
        user_id=owner.user_id,
        sip_ip=gateway.sip.host,
        sip_port=str(gateway.sip.port),
        quota=Quotas(
            **{name: Quota(total=gateway.accounts.quotas.of(project, name), used=used.get(name, 0)) for name in QUOTAS}
        ),
        created_at=time(at),
        is_subscribed=subscribed,
    )
