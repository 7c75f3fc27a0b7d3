"""Pictures of streams that flow."""

from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromPath, QueryParameter

from api.context import SCOPED, Authorised, Services
from gateway.errors import ConflictError, UnavailableError
from media._core import CoreError
from media.snapshots import SnapshotBusyError, SnapshotError


class SnapshotController(Controller):
    path = "/streams/{stream_name:str}"
    tags = ("operator",)

    @get("/snapshot.jpg", summary="The newest key frame of a stream as JPEG", opt=SCOPED)
    async def snapshot(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        width: Annotated[int, QueryParameter(ge=0, le=8192)] = 0,
        quality: Annotated[int, QueryParameter(ge=1, le=100)] = 80,
    ) -> Response[bytes]:
        """At most `width` wide (0: as it is). 409 while nothing flows, and where no key frame is kept. `Age` says how
        many seconds ago the picture came."""
        record = (await gateway.streams.get(request.auth.scope, stream_name)).record
        live = (await gateway.streams.live(record.app, [record.name])).get(record.name)
        if live is None:
            raise ConflictError(f"nothing flows of stream {stream_name}")
        if live.video_codec is None and live.audio_codec is not None:
            raise ConflictError(f"no picture of stream {stream_name}: sound is all that came of it so far")
        try:
            picture, wall_ms = await gateway.snapshots.take(live.receiver, width=width, quality=quality)
        except SnapshotBusyError as error:
            raise UnavailableError(str(error)) from error
        except (SnapshotError, CoreError) as error:
            raise ConflictError(f"no picture of stream {stream_name}: {error}") from error
        age = max(0, round(gateway.clock().timestamp() - wall_ms / 1000))
        headers = {"Age": str(age), "Cache-Control": "no-store"}
        return Response(picture, media_type="image/jpeg", headers=headers)
