"""What is chosen for a stream: forms, sound, what is kept for whom."""

from typing import Annotated, Literal

import msgspec
from litestar import Controller, get, put
from litestar.params import FromPath, JSONBody

from api.context import SCOPED, Authorised, Services
from gateway.retention.model import RecordingForm
from gateway.streams.option_book import OptionView
from gateway.streams.options import GOP_BYTES_MAX, NO_VIEWERS_MAX, VIEWERS_MAX, Form, OwnOptions, Segments

FormName = Literal["flv", "ts", "fmp4", "hls", "ll-hls", "rtmp", "rtsp", "webrtc"]
SegmentsName = Literal["ts", "fmp4", "ll"]
RecordingName = Literal["auto", "fmp4", "flv", "hls"]


class OptionsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is chosen; null, or left out: the default of the settings counts."""

    forms: Annotated[list[FormName], msgspec.Meta(max_length=8)] | None = None
    """How viewers may get the stream; other players are answered 403, and those who watch so are sent away."""
    audio: bool | None = None
    """false: its sound is neither given out nor recorded nor sent."""
    gop_bytes_max: Annotated[int, msgspec.Meta(ge=0, le=GOP_BYTES_MAX)] | None = None
    """Kept since the last key frame, so that viewers begin at once; 0: nothing."""
    from_gop: bool | None = None
    """false: viewers begin with the next key frame."""
    viewers_max: Annotated[int, msgspec.Meta(ge=0, le=VIEWERS_MAX)] | None = None
    """0: any number."""
    no_viewers: Annotated[float, msgspec.Meta(ge=0, le=NO_VIEWERS_MAX)] | None = None
    """Seconds without a viewer after which a channel is let go, and a stream that is pulled is stopped; 0: never."""
    hls_segment: Annotated[float, msgspec.Meta(ge=0.5, le=10)] | None = None
    """Seconds of a segment of HLS, if key frames allow."""
    hls_segments: Annotated[int, msgspec.Meta(ge=3, le=30)] | None = None
    """Segments that a playlist lists."""
    hls_always: Annotated[list[SegmentsName], msgspec.Meta(max_length=3)] | None = None
    """Segments that are cut before anybody asks for them, for players that must begin at once."""
    merge_write: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """What comes within so many seconds goes to a viewer with one write; 0: at once."""
    recording_form: RecordingName | None = None
    """As what it is recorded from now on; `hls`: fMP4 with a playlist beside each slice, `auto`: as fits the coding."""


class OptionsView(msgspec.Struct, kw_only=True):
    own: OptionsBody
    """What was chosen for this stream."""
    effective: OptionsBody
    """What counts."""


class OptionController(Controller):
    path = "/streams/{stream_name:str}/options"
    tags = ("operator",)

    @get(summary="What is chosen for a stream, and what counts", opt=SCOPED)
    async def show(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> OptionsView:
        return _view(await gateway.options.get(request.auth.scope, stream_name))

    @put(summary="Choose what counts for a stream")
    async def put(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[OptionsBody]
    ) -> OptionsView:
        """In the place of all that was chosen before; it counts at once, also for a stream that flows."""
        own = OwnOptions(
            forms=None if data.forms is None else tuple(form for form in Form if form in data.forms),
            audio=data.audio,
            gop_bytes_max=data.gop_bytes_max,
            from_gop=data.from_gop,
            viewers_max=data.viewers_max,
            no_viewers=data.no_viewers,
            hls_segment=data.hls_segment,
            hls_segments=data.hls_segments,
            hls_always=None if data.hls_always is None else tuple(one for one in Segments if one in data.hls_always),
            merge_write=data.merge_write,
            recording_form=None if data.recording_form is None else RecordingForm(data.recording_form),
        )
        return _view(await gateway.options.put(request.auth.scope, stream_name, own, gateway.clock()))


def _view(view: OptionView) -> OptionsView:
    return OptionsView(own=_body(view.own), effective=_body(OwnOptions(**view.effective.values())))


def _body(own: OwnOptions) -> OptionsBody:
    return OptionsBody(
        forms=None if own.forms is None else [form.value for form in own.forms],
        audio=own.audio,
        gop_bytes_max=own.gop_bytes_max,
        from_gop=own.from_gop,
        viewers_max=own.viewers_max,
        no_viewers=own.no_viewers,
        hls_segment=own.hls_segment,
        hls_segments=own.hls_segments,
        hls_always=None if own.hls_always is None else [one.value for one in own.hls_always],
        merge_write=own.merge_write,
        recording_form=None if own.recording_form is None else own.recording_form.value,
    )
