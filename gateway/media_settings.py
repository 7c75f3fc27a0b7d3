"""Settings of what moves media: ports, TLS, WebRTC, what is pulled and sent, and limits of streams."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.devices.model import MediaTransport
from gateway.retention.model import RecordingForm
from gateway.setting_types import Port, Rules, Seconds, Section, address
from gateway.streams.options import GOP_BYTES_MAX, Form, Segments


class Rtp(Section):
    """Where devices send their video."""

    host: str = "0.0.0.0"
    port_min: Port = 30_000
    port_max: Port = 39_999
    """A stream takes two ports, for RTP and RTCP."""
    shared_port: Port = 0
    """One port for all streams, told apart by SSRC; 0: a port for each."""
    advertise: Rules = Field(default_factory=dict)
    """Network → host to which its devices send video; others send to where their SIP came to."""
    prefer: MediaTransport = MediaTransport.UDP
    """What channels are offered that do not prefer TCP; TCP_PASSIVE: the device connects, TCP_ACTIVE: we do."""
    tcp_order: tuple[MediaTransport, ...] = (MediaTransport.TCP_PASSIVE,)
    """What channels are offered that prefer TCP, before UDP."""
    hold: Seconds = 0.2
    """Longest wait for a packet that is missing."""
    silence: Seconds = 5.0
    """Without a packet for so long, a stream is lost."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.port_max < self.port_min:
            raise ValueError("port_max is below port_min")
        return self


class Rtsp(Section):
    """Streams that are played by RTSP."""

    host: str = "0.0.0.0"
    port: Port = 8554
    """0: no RTSP."""
    public_url: Annotated[str, Field(pattern=r"^(rtsps?://[^/\s]+)?$")] = ""
    """Beginning of RTSP addresses, such as rtsp://video.example.org; empty: the host as the client addressed us."""
    realm: Annotated[str, Field(pattern=r"^[ !#-\[\]-~]{0,64}$")] = "gateway"
    """Under which clients prove by Digest that they have an access key; empty: they are not asked."""


class Rtmp(Section):
    """Streams that are pushed by RTMP, and played."""

    host: str = "0.0.0.0"
    port: Port = 1935
    """0: no RTMP."""
    public_url: Annotated[str, Field(pattern=r"^(rtmps?://[^/\s]+)?$")] = ""
    """Beginning of RTMP addresses, such as rtmp://video.example.org; empty: the host as the client addressed us."""
    token_rule: str = "hmac-sha256"
    """How the token of a push is made (docs/vis-api.md); or `module:name` of a rule of one's own."""
    token_skew: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """How long after its Expires a token is still taken, for clocks that differ."""
    token_life_max: Seconds = 604_800.0
    """How far ahead Expires may be."""


class Tls(Section):
    """The same services behind TLS, on ports of their own."""

    certificate: Path | None = None
    """PEM file of the certificate and those that prove it, own one first; read again when it changes."""
    key: Path | None = None
    """PEM file of its private key."""
    https_port: Port = 0
    """HTTPS on http.host: page, APIs and video; 0: off."""
    rtsps_port: Port = 0
    """RTSPS on rtsp.host; 0: off."""
    rtmps_port: Port = 0
    """RTMPS on rtmp.host; 0: off."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.https_port or self.rtsps_port or self.rtmps_port) and (self.certificate is None or self.key is None):
            raise ValueError("a port needs certificate and key")
        return self


class WebRtc(Section):
    """Streams that browsers play (WHEP) and publish (WHIP)."""

    enabled: bool = True
    addresses: tuple[Annotated[str, AfterValidator(address)], ...] = ()
    """Offered to browsers; empty: all of this machine but loopback. One that is not of this machine is told in place of
    ours: a router's, which forwards the ports."""
    port_min: Port = 41_000
    """UDP; a session takes one for each address."""
    port_max: Port = 41_999
    """port_min 0: any ports."""
    sessions_max: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Players and publishers together."""
    sessions_per_address_max: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Of one client, by its IPv4 address or its IPv6 network of 64 bits; 0: as many as there are, for clients that all
    come through one proxy."""
    keep_opus: bool = False
    """Whether what browsers publish keeps its Opus, which not every player of FLV, RTMP and MPEG-TS reads; else it
    becomes AAC."""
    key_frame_interval: Annotated[float, Field(ge=0.2, le=60)] = 2.0
    """How often a publishing browser is asked for a key frame."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.port_max < self.port_min:
            raise ValueError("port_max is below port_min")
        return self


class Pull(Section):
    """Streams that are pulled."""

    allow_private: bool = False
    """Whether streams may be pulled from loopback, link-local and private addresses."""
    return_after: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """Seconds that a stream's first input must have been back before it feeds the stream again; 0: never."""


class Ffmpeg(Section):
    """What is fetched by ffmpeg, as a process of its own for each stream."""

    protocols: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,15}$")], ...] = ()
    """Schemes of URLs that are left to it, such as srt; empty: none."""
    path: str = "ffmpeg"
    """The program."""
    arguments: tuple[str, ...] = ()
    """Before the input, for every stream."""


class Send(Section):
    """Streams that are sent as RTP."""

    allow_private: bool = False
    """Whether operators may have streams sent, or pushed, to loopback, link-local and private addresses."""


class Media(Section):
    """The relay."""

    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """0: one a core."""
    no_viewers: Annotated[float, Field(ge=0)] = 0.0
    """A stream that nobody watched for so long is ended; 0: never."""
    gop_bytes_max: Annotated[int, Field(ge=65_536, le=GOP_BYTES_MAX)] = 16_777_216
    """Of one stream, kept so that players begin at once."""
    hls_segment: Annotated[float, Field(ge=0.5, le=30.0)] = 2.0
    """Seconds of one HLS segment, if key frames allow; shorter ones bring players nearer to the camera."""
    address_life: Seconds = 86_400.0
    """How long a signed play address is good."""
    merge_write: Annotated[float, Field(ge=0, le=1)] = 0.0
    """What comes within so long goes to a viewer with one write: less processor time, so much delay; 0: at once."""
    viewers_max: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Who may watch one stream at once, in whatever form; 0: any number."""
    forms: tuple[Form, ...] = tuple(Form)
    """How viewers may get streams of which nothing else was chosen."""
    recording_form: RecordingForm = RecordingForm.AUTO
    """What recordings are written as: flv, fmp4, hls (fMP4 and a playlist beside each slice), or auto: FLV for H.264,
    fMP4 for H.265 and for what has Opus."""
    audio: bool = True
    """Whether the sound of streams is given out, recorded and sent."""
    from_gop: bool = True
    """Viewers begin with what is kept since the last key frame; else with the next one."""
    hls_segments: Annotated[int, Field(ge=3, le=30)] = 6
    """Segments that a playlist of HLS lists."""
    hls_always: tuple[Segments, ...] = ()
    """Segments (ts, fmp4, ll) that are cut before anybody asks for them."""
