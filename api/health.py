"""Whether we live, whether we are ready, and how we do."""

from litestar import Controller, MediaType, Response, get
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.context import Services


class HealthController(Controller):
    path = "/"
    tags = ("health",)

    @get("/healthz", media_type=MediaType.TEXT, summary="Whether the process answers")
    async def healthz(self) -> str:
        return "ok"

    @get("/readyz", summary="Whether every part can do its work")
    async def readyz(self, gateway: Services) -> Response[dict[str, str]]:
        """503 if one cannot; the body says of each part what is wrong with it, or ok."""
        found = await gateway.health.check()
        wrong = any(reason is not None for reason in found.values())
        return Response({name: reason or "ok" for name, reason in found.items()}, status_code=503 if wrong else 200)

    @get("/metrics", summary="Figures for Prometheus")
    async def metrics(self, gateway: Services) -> Response[bytes]:
        return Response(generate_latest(gateway.metrics), media_type=CONTENT_TYPE_LATEST)
