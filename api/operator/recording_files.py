"""Recordings as files for players: by signed addresses, with ranges, and HLS over them. No token is asked for."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from litestar import Controller, Request, Response, get, head
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from api.context import Services
from api.errors import NoTokenError
from api.services import Gateway
from gateway.errors import NotFoundError
from gateway.playback.sources import Source
from gateway.retention.names import CONTENT_TYPES

CHUNK: Final = 512 * 1024
"""Read at once, and held for each player."""
_FILE: Final = re.compile(r"([0-9a-f]{32})(\.flv|\.mp4)")
_PART: Final = re.compile(r"([0-9]{1,12})-([0-9]{1,12})\.m4s")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
OPEN: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Range, ETag"}
FOREVER: Final = {**OPEN, "Cache-Control": "private, max-age=86400, immutable"}


def signed(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """An address without a signature is as a call without a token; NoTokenError, before anything else is looked at."""
    if "sign" not in connection.query_params:
        raise NoTokenError("the address is not signed")


class RecordingFileController(Controller):
    path = "/streams/{stream_name:str}/recordings"
    tags = ("operator",)
    guards = (signed,)
    opt = {"without_token": True}  # noqa: RUF012  (the framework reads it)

    @get("/hls.m3u8", summary="HLS over the recordings of an interval, by signed address")
    async def playlist(
        self,
        request: Request[Any, Any, Any],
        gateway: Services,
        stream_name: FromPath[str],
        begin: FromQuery[datetime],
        end: FromQuery[datetime],
    ) -> Response[str]:
        """`project`, `expires` and `sign` are as in the addresses of the list."""
        stream = await gateway.recordings.admit(stream_name, _query(request))
        signed = "&".join(
            pair for pair in _query(request).split("&") if pair.partition("=")[0] in {"project", "expires", "sign"}
        )
        text = await gateway.recordings.playlist(stream, begin, end, signed)
        return Response(text, media_type="application/vnd.apple.mpegurl", headers=OPEN)

    @get("/{file:str}", summary="A recording, or a range of it, by signed address")
    async def file(
        self, request: Request[Any, Any, Any], gateway: Services, stream_name: FromPath[str], file: FromPath[str]
    ) -> Response[Any]:
        """200, 206, 304, 416. A recording never changes: its ETag is its id."""
        return await _file(request, gateway, stream_name, file)

    @head("/{file:str}", summary="How large a recording is, by signed address")
    async def file_head(
        self, request: Request[Any, Any, Any], gateway: Services, stream_name: FromPath[str], file: FromPath[str]
    ) -> Response[None]:
        """As the file, without its bytes."""
        return await _file(request, gateway, stream_name, file)

    @get("/{slice_id:str}/{part:str}", summary="A part of a recording for HLS, by signed address")
    async def part(
        self,
        request: Request[Any, Any, Any],
        gateway: Services,
        stream_name: FromPath[str],
        slice_id: FromPath[str],
        part: FromPath[str],
    ) -> Response[bytes]:
        """`init.mp4`, or `<from>-<to>.m4s` in milliseconds since its beginning, as the playlist says."""
        stream = await gateway.recordings.admit(stream_name, _query(request))
        found = _PART.fullmatch(part)
        if found is not None:
            data = await gateway.recordings.segment(stream, slice_id, int(found[1]), int(found[2]))
        elif part == "init.mp4":
            data = await gateway.recordings.initialisation(stream, slice_id)
        else:
            raise NotFoundError("recording", part)
        return Response(data, media_type="video/mp4", headers=FOREVER)


def _query(request: Request[Any, Any, Any]) -> str:
    return bytes(request.scope["query_string"]).decode("latin-1")


async def _file(request: Request[Any, Any, Any], gateway: Gateway, name: str, file: str) -> Response[Any]:
    stream = await gateway.recordings.admit(name, _query(request))
    wanted = _FILE.fullmatch(file)
    if wanted is None:
        raise NotFoundError("recording", file)
    async with AsyncExitStack() as stack:
        found, source = await stack.enter_async_context(gateway.recordings.source(stream, wanted[1]))
        if PurePosixPath(found.file).suffix != wanted[2]:
            raise NotFoundError("recording", file)
        size, etag = source.size, f'"{found.slice_id}"'
        headers = {**FOREVER, "Accept-Ranges": "bytes", "ETag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(b"", status_code=304, headers=headers)
        span = _span(request.headers, size, etag)
        if span is None:
            return Response(b"", status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        first, behind = span
        whole = span == (0, size)
        headers["Content-Length"] = str(behind - first)
        if not whole:
            headers["Content-Range"] = f"bytes {first}-{behind - 1}/{size}"
        status, media_type = 200 if whole else 206, CONTENT_TYPES[wanted[2]]
        if request.method == "HEAD":
            return Response(b"", status_code=status, headers=headers, media_type=media_type)
        # Read before the answer begins: until then a bucket that cannot be read is still told of by a status.
        data = await source.read(first, min(first + CHUNK, behind))
        hold = stack.pop_all()
        return Stream(
            _bytes(source, data, first, behind, hold), status_code=status, headers=headers, media_type=media_type
        )
    raise NotFoundError("recording", file)


def _span(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """First byte and the one behind the last (RFC 9110 §14.2); None if there is nothing of what is asked for. What
    cannot be read, several ranges and those of another version are answered with the whole."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", etag) != etag or found[1] == found[2] == "":
        return 0, size
    if found[1] == "":
        count = min(int(found[2]), size)
        return (size - count, size) if count else None
    first = int(found[1])
    behind = min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < first:
        return 0, size
    return (first, behind) if first < size else None


async def _bytes(source: Source, data: bytes, first: int, behind: int, hold: AsyncExitStack) -> AsyncIterator[bytes]:
    """The source is held until the last byte went out, or the player left."""
    async with hold:
        while data:
            yield data
            first += len(data)
            data = await source.read(first, min(first + CHUNK, behind)) if first < behind else b""
