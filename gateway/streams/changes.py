"""Making and changing streams that are no channels': what may be given, and what comes of it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.errors import InvalidError
from gateway.streams.errors import AutomaticStreamError, CodingError, StreamActiveError
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState, Tag
from gateway.streams.rules import check_name, check_tags, checked_url
from gateway.text import check_description

CODING: Final = "H264"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStream:
    """What a stream is made of; a URL means nothing to RTMP, an access key nothing to HTTP-FLV."""

    name: str
    access_type: AccessType
    encode_type: str
    share_type: ShareType = ShareType.PRIVATE
    url: str | None = None
    access_key: str | None = None
    description: str = ""
    tags: Sequence[Tag] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChange:
    """What is to be changed; None leaves it. An empty access key takes it away."""

    access_type: AccessType | None = None
    encode_type: str | None = None
    share_type: ShareType | None = None
    url: str | None = None
    access_key: str | None = None
    description: str | None = None
    tags: Sequence[Tag] | None = None
    state: StreamState | None = None


def created(
    new: NewStream,
    *,
    stream_id: str,
    project_id: str,
    app: str,
    at: datetime,
    allow_private: bool,
    protocols: Collection[str] = (),
) -> StreamRecord:
    """The stream as it begins, STOPPED; InvalidError, UrlError, CodingError."""
    check_name(new.name)
    _check_access_type(new.access_type)
    _check_coding(new.encode_type)
    check_description(new.description)
    check_tags(new.tags)
    pulled = new.access_type is AccessType.HTTP_FLV
    return StreamRecord(
        stream_id=stream_id,
        project_id=project_id,
        app=app,
        name=new.name,
        access_type=new.access_type,
        share_type=new.share_type,
        state=StreamState.STOPPED,
        description=new.description,
        encode_type=CODING,
        url=checked_url(new.url, allow_private=allow_private, protocols=protocols) if pulled else None,
        access_key=None if pulled else new.access_key or None,
        tags=tuple(new.tags),
        generation=0,
        device_id=None,
        channel_id=None,
        tcp_priority=False,
        created_at=at,
        updated_at=at,
    )


def changed(
    stream: StreamRecord,
    change: StreamChange,
    *,
    at: datetime,
    allow_private: bool,
    protocols: Collection[str] = (),
) -> StreamRecord:
    """The stream as it will be.

    AutomaticStreamError for a channel's; StreamActiveError for another access type while it is ACTIVE; InvalidError,
    UrlError, CodingError. What it is already may always be asked for again.
    """
    if stream.automatic:
        raise AutomaticStreamError(f"stream {stream.name} is a channel's and changes with it")
    if change.encode_type is not None:
        _check_coding(change.encode_type)
    if change.description is not None:
        check_description(change.description)
    if change.tags is not None:
        check_tags(change.tags)
    access_type = change.access_type or stream.access_type
    _check_access_type(access_type)
    if access_type is not stream.access_type and stream.state is StreamState.ACTIVE:
        raise StreamActiveError(f"stream {stream.name} is active: stop it before its access type changes")
    pulled = access_type is AccessType.HTTP_FLV
    url = stream.url if change.url is None and stream.url is not None else change.url
    return replace(
        stream,
        access_type=access_type,
        share_type=change.share_type or stream.share_type,
        state=change.state or stream.state,
        description=stream.description if change.description is None else change.description,
        url=_url(url, stream.url, allow_private=allow_private, protocols=protocols) if pulled else None,
        access_key=None if pulled else (stream.access_key if change.access_key is None else change.access_key or None),
        tags=stream.tags if change.tags is None else tuple(change.tags),
        updated_at=at,
    )


def _url(url: str | None, before: str | None, *, allow_private: bool, protocols: Collection[str]) -> str:
    """What was allowed when it was given may stay, whatever the settings say since."""
    if before is not None and url == before:
        return before
    return checked_url(url, allow_private=allow_private, protocols=protocols)


def _check_access_type(access_type: AccessType) -> None:
    if access_type is AccessType.GB28181:
        raise InvalidError("access_type", f"one of {AccessType.RTMP}, {AccessType.HTTP_FLV}")


def _check_coding(encode_type: str) -> None:
    if encode_type.upper() == "H265":
        raise CodingError("encode_type", "H265 comes only from GB28181 devices", code="coding.h265")
    if encode_type.upper() != CODING:
        raise InvalidError("encode_type", f"only {CODING}")
