"""The ASGI application: every API family behind one exception table, one gate and one request id."""

import secrets
import socket
import time
from pathlib import Path
from typing import Any, Final

import structlog
from litestar import Litestar, Router
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router
from litestar.types import Message
from prometheus_client import Counter, Histogram

from api.auth.gate import Gate
from api.auth.keystone import KeystoneController
from api.auth.recorder import READING, Recorder
from api.documentation import Refusals
from api.errors import handle
from api.health import HealthController
from api.operator.aac import AacController
from api.operator.access import AccessController
from api.operator.audit import AuditController
from api.operator.controllers import OperatorController
from api.operator.diagnosis import DiagnosisController
from api.operator.groups import GroupController
from api.operator.inputs import InputController
from api.operator.keys import AccessKeyController
from api.operator.me import MeController
from api.operator.options import OptionController
from api.operator.playbacks import PlaybackController
from api.operator.projects import ProjectController
from api.operator.pushes import PushController
from api.operator.record_plans import RecordPlanController
from api.operator.recording_files import RecordingFileController
from api.operator.recordings import RecordingController
from api.operator.senders import SenderController
from api.operator.snapshots import SnapshotController
from api.operator.streams import StreamController as OperatorStreamController
from api.operator.streams import StreamListController
from api.operator.users import UserController
from api.services import Gateway
from api.vis.common import page
from api.vis.credentials import CredentialController
from api.vis.devices import DeviceController
from api.vis.operation import OperationController
from api.vis.push_keys import PushKeyController
from api.vis.retention import RetentionController
from api.vis.strategies import StrategyController
from api.vis.streams import StreamController
from api.vis.subscription import SubscriptionController
from api.webrtc import WhepController, WhipController, preflight

BODY_MAX: Final = 1_048_576
CONSOLE: Final = Path(__file__).parent / "console" / "dist"
FAMILIES: Final = {"v1": "vis", "v3": "keystone", "gb": "operator"}


def create(gateway: Gateway, *, console: Path = CONSOLE) -> Litestar:
    """Builds the application; it opens nothing and starts nothing. `console` is the built page, if it was built."""
    handlers: list[Any] = [
        HealthController,
        WhepController,
        WhipController,
        Router(path="/", route_handlers=[KeystoneController], middleware=[Gate(gateway)]),
        Router(
            path="/v1",
            route_handlers=[
                SubscriptionController,
                CredentialController,
                PushKeyController,
                DeviceController,
                StrategyController,
                StreamController,
                RetentionController,
                OperationController,
            ],
            middleware=[Gate(gateway, subscribed=True)],
            dependencies={"page": Provide(page, sync_to_thread=False)},
        ),
        Router(
            path="/gb/v1",
            route_handlers=[
                OperatorController,
                AccessController,
                DiagnosisController,
                AccessKeyController,
                MeController,
                UserController,
                GroupController,
                ProjectController,
                RecordPlanController,
                RecordingController,
                RecordingFileController,
                PlaybackController,
                SnapshotController,
                AuditController,
                StreamListController,
                OperatorStreamController,
                AacController,
                PushController,
                InputController,
                OptionController,
                SenderController,
            ],
            middleware=[Gate(gateway)],
        ),
    ]
    if console.is_dir():
        handlers.append(create_static_files_router(path="/", directories=[console], html_mode=True))
    return Application(
        handlers,
        gateway=gateway,
        figures=Figures(gateway),
        dependencies={"gateway": Provide(lambda: gateway, sync_to_thread=False)},
        exception_handlers={Exception: handle},
        openapi_config=_openapi(),
        request_max_body_size=BODY_MAX,
        logging_config=None,
        plugins=[Refusals()],
    )


class Figures:
    """What is counted of every request."""

    def __init__(self, gateway: Gateway) -> None:
        self.requests = Counter(
            "gateway_http_requests",
            "Requests answered, by API family, method and status",
            ["family", "method", "status"],
            registry=gateway.metrics,
        )
        self.seconds = Histogram(
            "gateway_http_request_seconds",
            "Time to the end of the answer, by API family",
            ["family"],
            registry=gateway.metrics,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )


class Application(Litestar):
    """Gives every request an id (X-request-id, also in the log) and counts it, whatever it meets.

    Requests that change something go through the audit log.
    """

    def __init__(self, *given: Any, gateway: Gateway, figures: Figures, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gateway = gateway
        self._figures = figures
        self._host = socket.gethostname()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        begin, status = time.perf_counter(), "0"
        request_id = f"{secrets.token_hex(16)}-{int(time.clock_gettime(time.CLOCK_REALTIME))}-{self._host}"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                MutableScopeHeaders.from_message(message)["X-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if await preflight(scope, answer):
                pass
            elif scope["method"] in READING:
                await super().__call__(scope, receive, answer)
            else:
                recorder = Recorder(self._gateway, scope, receive, answer, request_id)
                await super().__call__(scope, recorder.receive, recorder.send)
        family = FAMILIES.get(scope["path"].split("/", 2)[1], "other")
        method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "DELETE", "HEAD"} else "other"
        self._figures.requests.labels(family, method, status).inc()
        self._figures.seconds.labels(family).observe(time.perf_counter() - begin)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="GB/T 28181 access gateway",
        version="1",
        description="VIS under /v1, Keystone under /v3, the operator's own API under /gb/v1.",
        path="/schema",
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"]), YamlRenderPlugin()],
        components=Components(
            security_schemes={"token": SecurityScheme(type="apiKey", name="X-Auth-Token", security_scheme_in="header")}
        ),
        security=[{"token": []}],
    )
