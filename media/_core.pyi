"""What the relay's core offers (crate `media/core/python`); a test compares this file with the built module.

Every call is per stream or rarer, returns at once, and releases the GIL where it may wait. Media bytes never
pass through here but by `Tap`, `Subscription` and `Feed`. Times in events are milliseconds of the UNIX epoch. Addresses
are literal IP addresses: ValueError for anything else. After `close`, calls raise CoreError.
"""

from collections.abc import Sequence
from typing import Final, Literal, final

__version__: Final[str]

Transport = Literal["udp", "tcp_passive", "tcp_active"]
AudioCodec = Literal["PCMA", "PCMU", "AAC", "OPUS"]
Codec = Literal["H264", "H265"] | AudioCodec

class CoreError(Exception):
    """The world failed (no free port, address in use); the message says what and where."""

class UnknownReceiverError(CoreError):
    """No receiver has this id: it was closed."""

@final
class Core:
    """The relay: threads that own sockets and streams. One per process; `close` joins the threads."""

    def __new__(
        cls,
        *,
        rtp_host: str = "::",
        rtp_port_min: int = 30000,
        rtp_port_max: int = 39999,
        rtp_shared_port: int = 0,
        threads: int = 0,
        play_key: bytes,
        silence_ms: int = 5000,
        no_viewer_ms: int = 0,
        gop_bytes_max: int = 16_777_216,
        bandwidth_max_bps: int = 40_000_000,
        hls_segment_ms: int = 2000,
        merge_write_ms: int = 0,
        trusted_proxies: Sequence[str] = (),
    ) -> Core:
        """Starts the threads; `threads` 0 means one a core. `rtp_shared_port` 0 means none.

        `play_key` signs play addresses (see `sign`). `silence_ms`: a receiver without a packet for so long raises
        `silent`. `no_viewer_ms`: a stream nobody watched for so long raises `no_viewers`; 0 means never.
        `bandwidth_max_bps`: what one receiver may bring in; what is beyond is dropped (TCP: not read for a while).
        `hls_segment_ms`: length of HLS segments, if key frames allow.
        `merge_write_ms`: what comes within so long goes to a viewer with one write (not datagrams); 0: at once.
        `trusted_proxies`: networks (`10.1.0.0/16`) whose hosts tell the front door who asked, and may have all of its
        connections; ValueError for what is no network. CoreError if the shared port cannot be opened.
        """

    def close(self) -> None:
        """Closes every receiver, viewer and listener, then joins the threads; further calls raise CoreError."""

    def listen_http(self, host: str, port: int, upstream: str) -> int:
        """Opens the front door and returns its port. Media routes are served here; every other request goes to the
        HTTP/1.1 server on the Unix socket `upstream`, with X-Forwarded-For (one address) and X-Forwarded-Proto set
        by us; what clients say of them counts only from trusted proxies."""

    def listen_rtmp(self, host: str, port: int) -> int:
        """Opens an RTMP port for publishers and players and returns it. Each publisher raises `publish` and waits 10 s
        for `accept_publish` or `refuse_publish`; players have the same rights as by HTTP, with the query behind the
        stream's name."""

    def listen_rtsp(self, host: str, port: int, *, realm: str | None = None) -> int:
        """Opens an RTSP port for players and publishers and returns it. Players have the same rights as by HTTP; their
        datagrams leave from two ports side by side that the system chooses. Publishers raise `publish` as by RTMP;
        their datagrams come in at ports of the receivers' range.

        With a realm, who asks for a private stream with nothing to show is asked who it is by Digest (401; SHA-256 and
        MD5), and so is a publisher refused as `unauthorized`. An answer whose nonce is good raises `play` or `publish`
        with, beside the usual, user, realm, nonce, uri, method, algorithm ("MD5", "SHA-256", also with "-sess") and
        response, and qop, nc and cnonce where they were sent; there is no `token` then. Whether the password is right
        is for the application to say. A client may be wrong three times a connection."""

    def listen_https(self, host: str, port: int, upstream: str, *, certificate: str, key: str) -> int:
        """`listen_http` behind TLS 1.2 or 1.3, by HTTP/1.1; X-Forwarded-Proto says https.

        `certificate` (with those that prove it, own one first) and `key` are paths of PEM files. They are looked at
        every 5 s; a change is told by event `certificate` (detail path, outcome "renewed" or "unusable", reason), and
        what cannot be used leaves the old one in force. Who does not finish the handshake within 10 s is closed.
        CoreError if a file is missing, holds nothing of its kind, or if the two do not belong together.
        """

    def listen_rtmps(self, host: str, port: int, *, certificate: str, key: str) -> int:
        """`listen_rtmp` behind TLS (see `listen_https`)."""

    def listen_rtsps(self, host: str, port: int, *, certificate: str, key: str, realm: str | None = None) -> int:
        """`listen_rtsp` behind TLS (see `listen_https`); packets go on the connection only, never as datagrams."""

    def accept_publish(
        self,
        ticket: int,
        app: str,
        name: str,
        *,
        private: bool = True,
        generation: int = 0,
        viewers_max: int = 0,
    ) -> int:
        """Lets the publisher that holds `ticket` publish the stream `app`/`name`, whatever it asked for, and returns
        the stream's receiver id. CoreError if it is gone, or the stream has a source: then it waits on."""

    def refuse_publish(self, ticket: int, reason: str, *, unauthorized: bool = False) -> None:
        """Sends the publisher away with the reason (RTMP: NetStream.Publish.Denied; RTSP: 403); an unknown ticket is
        ignored. `unauthorized`: where the port has a realm (RTSP), it is asked who it is and may try again."""

    def event_fd(self) -> int:
        """A descriptor that is readable while events wait; it stays ours, do not close it."""

    def poll_events(self, limit: int = 1000) -> list[Event]:
        """Takes up to `limit` events, oldest first. The queue holds 65,536; what is lost beyond that is told by one
        `overflow` event with the number."""

    def open_receiver(
        self,
        app: str,
        name: str,
        *,
        transport: Transport,
        shared: bool = False,
        ssrc: int | None = None,
        peer: str | None = None,
        any_peer: bool = False,
        hold_ms: int = 200,
        private: bool = True,
        generation: int = 0,
        viewers_max: int = 0,
    ) -> Receiver:
        """Opens a receive port for the stream `app`/`name` (replaces no other: CoreError if it has a receiver).

        `ssrc`: the one that was asked for; `peer`: the address the media should come from; a dedicated port accepts
        any SSRC from that peer, and with `any_peer` (or no `peer`) any source that shows the right SSRC. `shared`: use
        the shared port, where `ssrc` is the key. `tcp_active`: nothing is opened until `connect`. `private`: play
        addresses must be signed (or a token be shown, see `answer_play`), under `generation`. `viewers_max`: who may
        watch at once, in whatever form; 0 means any number. `hold_ms`: longest wait for a packet that is missing.
        """

    def open_pull(
        self,
        app: str,
        name: str,
        url: str,
        *,
        private: bool = True,
        generation: int = 0,
        viewers_max: int = 0,
        allow_private: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        transport: Literal["tcp", "udp"] = "tcp",
        command: Sequence[str] = (),
        label: str = "",
    ) -> Receiver:
        """Opens the stream `app`/`name` and fetches it from `url` until `close_receiver`.

        Over http and https the body tells whether it is FLV, a transport stream or HLS; rtsp, rtsps, rtmp and rtmps are
        what they say; udp is a transport stream in datagrams, only with `allow_private`. `transport` is for RTSP: RTP
        on the connection or in datagrams. With `command` this program is run instead (no shell), which writes a
        transport stream to its standard output; it is killed with its input, and `url` is only told.

        What fails is tried again after 1 s, doubling to 60 s, each wait shortened by up to a quarter at random. User
        and password of the URL are sent as Basic, `headers` (32 at most) beside ours; neither to another server that a
        redirect leads to, nor told in events. Only addresses of the public internet are connected to, unless
        `allow_private`. CoreError for a URL, an address or a header that cannot be used, or if the stream has a source.
        """

    def open_feed(
        self,
        app: str,
        name: str,
        *,
        transport: Literal["whip", "derived"],
        private: bool = True,
        generation: int = 0,
        viewers_max: int = 0,
    ) -> Feed:
        """Opens the stream `app`/`name`, whose frames are pushed; CoreError if it has a source. The stream lives as
        long as the feed: `close_receiver`, and dropping the feed, end both."""

    def subscribe(
        self,
        receiver: int,
        *,
        video: bool = True,
        audio: bool = True,
        from_gop: bool = True,
        queue_bytes: int = 8_388_608,
        protocol: str = "",
        peer: str | None = None,
        agent: str = "",
    ) -> Subscription:
        """The units of a stream, from its cached GOP on (`from_gop`), or from the next key frame.

        `queue_bytes` may wait; beyond it all that waits is dropped, and it goes on with the next key frame. Who
        subscribes counts as watching; with a `protocol` ("whep") also as a viewer, with a place among `viewers_max`:
        CoreError if there is none; it is listed with `peer`, an address (ValueError), and up to 256
        characters of `agent`. UnknownReceiverError if the stream is gone.
        """

    def open_sender(
        self,
        receiver: int,
        *,
        transport: Transport = "udp",
        host: str | None = None,
        port: int = 0,
        ssrc: int,
        payload: Literal["ps", "es"] = "ps",
        payload_type: int = 96,
        local_port: int = 0,
        video: bool = True,
        audio: bool = True,
        report_timeout_ms: int = 0,
        wait_ms: int = 30000,
        over: int | None = None,
        rtcp: bool = False,
    ) -> Sender:
        """Sends a stream as RTP to `host`:`port` until it ends, its target goes, or `close_sender`; at most 64.

        `udp`: from a port of the range, or `local_port`, with reports from the one above. `tcp_active`: we connect,
        three times at most. `tcp_passive`: we listen for `wait_ms`, and the first connection from `host` (None: from
        anywhere) is the target; `port` has no meaning then. `payload_type` is that of PS, and of video sent as it is;
        G.711 has 8 and 0, AAC 97. `report_timeout_ms`: a target of datagrams whose RTCP stays away so long is given
        up; 0: never. Raises `sender_connected` when packets can flow, and as its last event `sender_failed` (it never
        reached its target) or `sender_ended`: `sender`, `ssrc`, `peer`, `reason`, `cause` (see docs/media.md). A sender
        counts as a viewer, `gb28181`. `rtcp`: sender reports on a connection too; with datagrams they always go.

        `over`: instead of to an address, over the connection of this receiver, to its source: from its port to where
        its datagrams come from, or on its TCP connection. It writes and never reads. A connection is waited for up to
        `wait_ms`; the one after it is gone over to, with another `sender_connected`; the receiver's end is the
        sender's. `transport` is the receiver's then, and there may be one such sender a receiver.

        UnknownReceiverError if one of the two streams is gone; CoreError if no port is free, if somebody sends over the
        receiver already, or the values make no sense.
        """

    def close_sender(self, sender: int) -> None:
        """Ends a sender; an unknown one is ignored. Its last event has the reason `closed`."""

    def senders(self) -> list[SenderStats]:
        """Snapshots of all senders, by their ids."""

    def switch_pull(
        self,
        receiver: int,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        transport: Literal["tcp", "udp"] = "tcp",
        command: Sequence[str] = (),
        label: str = "",
    ) -> None:
        """Lets another input feed a pulled stream from now on: viewers stay, and its clock goes on. One that stands by
        takes over with what it kept since its newest key frame; any other as soon as it connects. Event `switched`.
        UnknownReceiverError if this is no pull; CoreError as for `open_pull`."""

    def standby_pull(
        self,
        receiver: int,
        inputs: Sequence[tuple[str, str, Sequence[tuple[str, str]], str, Sequence[str]]],
    ) -> None:
        """Keeps inputs (label, url, headers, transport, command; at most 8) connected that do not feed the stream, so
        that `switch_pull` with the same takes over at once; those not named any more are given up. Events
        `standby_connected` (with its first picture or sound), `standby_failed`."""

    def connect(self, receiver: int, host: str, port: int) -> None:
        """Lets a `tcp_active` receiver connect (three tries, a second apart); events tell how it went."""

    def expect(
        self,
        receiver: int,
        *,
        ssrc: int | None = None,
        peer: str | None = None,
        payloads: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Tells a receiver what the answer's SDP said: its own SSRC, its address, payload types with encoding names
        such as (96, "PS") or (98, "H264")."""

    def close_receiver(self, receiver: int) -> None:
        """Frees the port (quarantined for some seconds) and ends the stream; unknown ids are ignored."""

    def open_push(
        self, receiver: int, url: str, *, allow_private: bool = False, transport: Literal["tcp", "udp"] = "tcp"
    ) -> int:
        """Sends a stream to another server (rtmp, rtmps, rtsp, rtsps) while its receiver is open; the push's id.

        It waits until the stream flows, begins with the newest key frame, and shares the bytes of all players; what
        fails is tried again as a pull is, to the same addresses. The query goes with the stream's name, but for RTMP
        `codec=12` (H.265 under the older codec id) and `audio=0`, which are ours. A push is no viewer, but the stream
        counts as watched. `transport` is for RTSP without TLS: RTP on the connection or in datagrams.
        UnknownReceiverError, or CoreError for a URL or an address that cannot be used, and beyond 4,096 pushes.
        """

    def close_push(self, push: int) -> None:
        """Closes a push, which takes its leave of the server; `push_ended` follows. Unknown ids are ignored."""

    def pushes(self) -> list[Push]:
        """The pushes that are open, the oldest first."""

    def set_private(self, app: str, name: str, private: bool) -> None:
        """Sets whether play addresses of the stream must be signed; future viewers only."""

    def set_generation(self, app: str, name: str, generation: int) -> None:
        """Revokes: addresses signed under another generation are refused from now on. Who watches a live stream stays;
        players of HLS end with their next request."""

    def set_viewers_max(self, app: str, name: str, viewers_max: int) -> None:
        """Sets how many may watch at once (0: any number); one more gets 503. Who watches stays."""

    def set_options(
        self,
        receiver: int,
        *,
        forms: Sequence[str] | None = None,
        audio: bool | None = None,
        gop_bytes_max: int | None = None,
        from_gop: bool | None = None,
        no_viewer_ms: int | None = None,
        hls_segment_ms: int | None = None,
        hls_segments: int | None = None,
        hls_always: Sequence[str] | None = None,
        merge_write_ms: int | None = None,
    ) -> None:
        """Sets all options of a stream, at once and as long as it is open; None is what the core was started with.

        `forms`: flv, ts, fmp4, hls, ll-hls, rtmp, rtsp, webrtc; another one is refused, and who watches by it is sent
        away. `audio`: False leaves sound out of everything; it is gone at once, and back with a key frame.
        `gop_bytes_max`: what is kept for new viewers; 0: nothing. `from_gop`: False lets them begin with the next key
        frame (not HLS). `no_viewer_ms`: as of `Core`; 0: never. `hls_segments`: how many a playlist lists (2 to 30).
        `hls_always`: ts, fmp4, ll: segments that are cut before anybody asks. UnknownReceiverError, or CoreError for a
        value that cannot be.
        """

    def answer_play(self, ticket: int, allowed: bool) -> None:
        """Answers a `play` event: whether the bearer of its token may play; or an `aac` event: whether the stream has a
        sibling called `…~aac` now. Without an answer the viewer is refused
        after 5 s; for HLS a yes counts for 30 s and a no for 5 s. A ticket that is not open any more is ignored."""

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str:
        """The query (`expires=…&sign=…`) that lets its bearer play the stream until `expires` (UNIX seconds), while the
        stream has this generation: base64url without padding of HMAC-SHA256(play_key, "app/name:expires"), or of
        "app/name:expires/generation" if the generation is not 0."""

    def streams(self) -> list[Stream]:
        """A snapshot of all streams."""

    def stream(self, app: str, name: str) -> Stream | None:
        """A snapshot of one stream."""

    def viewers(self, app: str, name: str) -> list[Viewer]:
        """Who watches a stream now, in whatever form; oldest first. Empty for an unknown stream."""

    def kick(self, viewer: int) -> bool:
        """Sends a viewer away; False if it is gone already. One of a live form is cut off and may come again; a player
        of HLS is refused (403) for a minute."""

    def stream_count(self) -> int: ...
    def tap(self, receiver: int, *, packets: int = 4096) -> Tap:
        """Copies of the packets that arrive from now on, at most `packets` waiting, newest dropped."""

    def record(
        self, receiver: int, *, directory: str, slice_ms: int, utc_offset_ms: int, tag: str, form: str | None = None
    ) -> int:
        """Records a stream from its newest key frame on, into `directory`, which must exist; the recording's id.

        A file ends at the first key frame at or after each multiple of `slice_ms` since local midnight
        (`utc_offset_ms`: local time less UTC), and where the tracks change; events `slice` and `record_failed` tell of
        it and repeat `tag`. It is called `<start_ms>-<end_ms>.flv` or `.mp4`, and `<start_ms>.flv.part` until it is
        finished. `form`: `flv` or `fmp4` of what has a picture; None is FLV for H.264, fMP4 for H.265 and Opus. A
        recorded stream counts as watched. It lasts until `stop_recording`, or the stream ends; a disk that fails is
        tried again. UnknownReceiverError, CoreError for a length or offset that cannot be, ValueError for an unknown
        form.
        """

    def stop_recording(self, recording: int) -> None:
        """Ends a recording; its last `slice` follows, and `record_ended`. Unknown ids are ignored."""

    def open_playback(
        self,
        app: str,
        name: str,
        files: Sequence[tuple[str, int]],
        *,
        position_ms: int = 0,
        end_ms: int | None = None,
        speed: float = 1.0,
        paused: bool = False,
        private: bool = True,
        generation: int = 0,
        viewers_max: int = 0,
    ) -> Receiver:
        """Opens the stream `app`/`name` and plays files of `Core.record` into it, one behind the other.

        `files`: paths with when their first frame came, in order (ms of the UNIX epoch), as are `position_ms` and
        `end_ms`. It begins with the last key frame at or before `position_ms`, or with the next file if none has that
        moment; what lies between two files is jumped over. `speed` is 0.25 to 16: beside 1 without sound, above 4 with
        key frames only. `paused`: the first picture waits for `playback_pause`. At the end the stream ends (`ended`,
        reason `end`); where it stands is told by `playback_position`. CoreError for files or a speed that cannot be, or
        if the stream has a source.
        """

    def playback_seek(self, receiver: int, position_ms: int) -> None:
        """Goes on at the last key frame at or before this moment. UnknownReceiverError; CoreError if too many wishes
        wait."""

    def playback_speed(self, receiver: int, speed: float) -> None:
        """Goes on so many times as fast."""

    def playback_pause(self, receiver: int, paused: bool) -> None:
        """Stands still, or goes on."""

    def key_frame(self, receiver: int) -> KeyFrame | None:
        """The newest key frame of a stream; None if it has none, or a GOP that was too large. Waits for the stream's
        thread, two seconds at worst. UnknownReceiverError."""

    def metrics(self) -> dict[str, float]:
        """Counters of the whole core by Prometheus name."""

@final
class Sender:
    """A sender that was opened."""

    @property
    def id(self) -> int:
        """Never used again."""
    @property
    def port(self) -> int:
        """Our own port; 0 for one that connects."""

@final
class SenderStats:
    """A sender at one moment."""

    @property
    def id(self) -> int: ...
    @property
    def receiver(self) -> int: ...
    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def transport(self) -> Transport: ...
    @property
    def payload(self) -> Literal["ps", "es"]: ...
    @property
    def video(self) -> bool: ...
    @property
    def audio(self) -> bool: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def port(self) -> int: ...
    @property
    def over(self) -> int | None:
        """The receiver whose connection is used."""
    @property
    def peer(self) -> str | None:
        """Address and port of the target, once it is known."""
    @property
    def state(self) -> Literal["connecting", "listening", "waiting", "sending"]:
        """`waiting`: for a key frame; `listening`: for the target, or for the connection of `over`."""
    @property
    def since_ms(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def skips(self) -> int:
        """Times that it was too slow and went on at a key frame."""
    @property
    def dropped(self) -> int:
        """Packets that it was not sent because of that."""
    @property
    def heard_ms(self) -> int | None:
        """When the target last said something: RTCP, or anything on a connection."""

@final
class Receiver:
    """What `open_receiver` made."""

    @property
    def id(self) -> int: ...
    @property
    def port(self) -> int:
        """The local RTP port; 0 for `tcp_active`."""

@final
class Event:
    """Something happened to a receiver or stream.

    Kinds, with what `detail` says (`reason` is a sentence, `cause` a word for it that does not change, see
    docs/media.md; `brought`: 1 if pictures or sound came): `connecting` (a pull; url without secrets) · `connected`
    (TCP; peer) · `connect_failed` (tcp_active, after the last try: reason, cause; a pull, after each: reason, cause,
    retry_ms, brought; input: the label of the input, if it has one) ·
    `first_packet` (peer, ssrc, payload_type) · `ssrc_mismatch` (expected, got; adopted) · `wrong_payload` (payload,
    first_bytes; once) · `tracks` (payload, video, width, height, audio, sample_rate, as far as known; again on
    change) · `first_key_frame` · `silent` (ms; nothing for silence_ms) · `resumed` (after `silent`, or the
    `disconnected` of what is fed) · `disconnected` (TCP; peer, reason, cause; a pull also retry_ms, brought, input; of
    one that gave way, cause switched, without the last two) · `no_viewers` ·
    `switched` (input: its label, url, ready: 1 if it stood by) · `standby_connected` (input, url, peer; one that
    stands by brought its first picture or sound) · `standby_failed` (input, url, reason, cause, retry_ms, brought) ·
    `rejected` (count, peer, ssrc; packets or connections of strangers, once a second at most) · `slice` (a recording
    finished a file: recording, tag, path, start_ms, end_ms, duration_ms, frames, key_frames, bytes, video, reason,
    lost; see docs/media.md) · `record_failed` (recording, tag, reason, lost; it goes on if it can) · `record_ended`
    (recording, tag, reason, lost; its last event) ·
    `playback_position` (position_ms, speed, delivery, paused; every 5 s and after each wish; or problem: a file left
    out) · `play` (ticket, app, name, peer, protocol, token; a private stream was asked for with a token: answer with
    `answer_play`) ·
    `aac` (ticket, app, name, peer, protocol; who may play the stream asked for it with `audio=aac`: answer with
    `answer_play` once `…~aac` is open) ·
    `publish` (receiver 0; ticket, app, name, query, peer, protocol; challenged, if a refusal as `unauthorized` asks it
    for a proof: somebody waits to be let in or sent away) · `ended`
    (reason, cause; a fed stream is over, its last event) · `failed` (reason, cause; our own fault: the stream is
    closed) · `overflow` (lost) · `push_connected` (push, peer: the server takes the stream) · `push_failed` (push,
    reason, cause, retry_ms: the server was not reached or lost) · `push_ended` (push, reason, cause: closed, or the
    stream is over; its last event) · `sender_connected`, `sender_failed`, `sender_ended` (see `open_sender`).
    """

    @property
    def kind(self) -> str: ...
    @property
    def receiver(self) -> int: ...
    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def detail(self) -> dict[str, str]: ...

@final
class Stream:
    """A stream at one moment."""

    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def receiver(self) -> int: ...
    @property
    def transport(
        self,
    ) -> Transport | Literal["rtmp", "rtsp", "http-flv", "http-ts", "hls", "udp-ts", "whip", "derived", "playback"]: ...
    @property
    def port(self) -> int: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def ssrc(self) -> int | None: ...
    @property
    def payload(self) -> str | None:
        """ps, h264, h265, g711a, g711u, aac, opus, ts; flv for what is fed as FLV, units for what is fed by `Feed`;
        None before the first packet."""
    @property
    def private(self) -> bool: ...
    @property
    def opened_ms(self) -> int: ...
    @property
    def first_packet_ms(self) -> int | None: ...
    @property
    def first_key_frame_ms(self) -> int | None: ...
    @property
    def video_codec(self) -> str | None:
        """H264, H265."""
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> float:
        """Measured over the last seconds."""
    @property
    def gop(self) -> int:
        """Pictures from key frame to key frame, the last full one."""
    @property
    def audio_codec(self) -> str | None:
        """PCMA, PCMU, AAC, OPUS."""
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def expected(self) -> int:
        """RTP packets that should have come (RFC 3550 §A.3); of what is fed, messages or tags."""
    @property
    def received(self) -> int:
        """RTP packets that came, duplicates not counted; of what is fed, messages or tags."""
    @property
    def lost(self) -> int: ...
    @property
    def reordered(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int:
        """Packets from strangers or with a foreign SSRC."""
    @property
    def jitter_ms(self) -> float: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def rate_in_bps(self) -> int: ...
    @property
    def rate_out_bps(self) -> int: ...
    @property
    def rate_video_bps(self) -> int: ...
    @property
    def rate_audio_bps(self) -> int: ...
    @property
    def viewers(self) -> dict[str, int]:
        """Viewers by protocol: http-flv, ws-flv, http-ts, ws-ts, http-fmp4, ws-fmp4, rtmp, rtsp, hls, whep, gb28181."""
    @property
    def faults(self) -> dict[str, int]:
        """Deviations counted by name (see docs/media.md): pes_truncated, psm_contradicts, resync …"""

@final
class Viewer:
    """Somebody who watches a stream, at one moment."""

    @property
    def id(self) -> int:
        """Never used again."""
    @property
    def protocol(self) -> str:
        """As in `Stream.viewers`."""
    @property
    def peer(self) -> str | None:
        """Address and port (of the first request, for HLS), of whep the address; None where it was not told."""
    @property
    def since_ms(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def skips(self) -> int:
        """How often it was too slow and was put forward to a key frame."""
    @property
    def user_agent(self) -> str:
        """What it calls itself (`User-Agent` of HTTP and RTSP, `flashVer` of RTMP): 256 characters of it at most."""

@final
class Push:
    """A stream on its way to another server, at one moment."""

    @property
    def id(self) -> int: ...
    @property
    def receiver(self) -> int: ...
    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str:
        """Without user, password and query; of a name longer than 8 characters the first 4: it may be a key."""
    @property
    def state(self) -> Literal["waiting", "connecting", "pushing", "retrying"]:
        """`waiting`: the stream does not flow."""
    @property
    def since_ms(self) -> int:
        """When the state began."""
    @property
    def bytes_out(self) -> int:
        """Written over all connections of this push."""
    @property
    def failures(self) -> int: ...

@final
class RtpPacket:
    """What `parse_rtp` read."""

    @property
    def payload_type(self) -> int: ...
    @property
    def marker(self) -> bool: ...
    @property
    def seq(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def payload(self) -> bytes:
        """Without header, CSRC list, extension and padding."""

def parse_rtp(data: bytes) -> RtpPacket:
    """Reads one RTP packet as the relay does (RFC 3550 §5.1); ValueError says why it is none."""

@final
class PesPacket:
    """A PES packet of video or audio that `demux_ps` found."""

    @property
    def stream_id(self) -> int:
        """C0 to DF audio, E0 to EF video."""
    @property
    def pts(self) -> int | None:
        """90 kHz, 33 bits."""
    @property
    def dts(self) -> int | None: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def whole(self) -> bool:
        """It was as long as it said."""

def demux_ps(data: bytes) -> tuple[list[PesPacket], list[str]]:
    """Reads a program stream as the relay does, from its first pack header on: its packets, and the faults by name."""

@final
class KeyFrame:
    """A picture that a decoder can begin with."""

    @property
    def codec(self) -> Literal["H264", "H265"]: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def wall_ms(self) -> int:
        """When it came, in milliseconds of the UNIX epoch."""
    @property
    def dts_90k(self) -> int:
        """Its time on the stream's clock: tells it from the receiver's other key frames."""
    @property
    def data(self) -> bytes:
        """Parameter sets and NAL units behind start codes."""

@final
class FileFacts:
    """What the head of a recording says."""

    @property
    def form(self) -> Literal["flv", "mp4"]: ...
    @property
    def duration_ms(self) -> int:
        """0 if it was never finished."""
    @property
    def head(self) -> int:
        """Bytes of an mp4 that a player needs first (`ftyp`, `moov`)."""
    @property
    def size(self) -> int: ...
    @property
    def entries(self) -> list[tuple[int, int]]:
        """Key frames: milliseconds and bytes since the file's beginning, in order; thinned if there are thousands."""
    @property
    def video(self) -> Literal["H264", "H265"] | None: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def audio(self) -> bool:
        """Whether it has sound."""

def file_facts(path: str) -> FileFacts:
    """Reads the head of a finished recording; waits for the disk. CoreError if it is none."""

def init_segment(path: str) -> bytes:
    """The initialisation segment of fMP4 for `segment`s of a recording. CoreError if it is none."""

def segment(path: str, from_ms: int, to_ms: int, form: Literal["ts", "fmp4"]) -> bytes:
    """What a recording has from `from_ms`, a key frame of its index, until before `to_ms` (both since its beginning),
    as one segment of HLS with the file's own times. CoreError if it is none, or above 64 MiB. Waits for the disk."""

def salvage(path: str) -> tuple[int, int, int] | None:
    """Finishes a `.part` that a crash left: cut to its last whole frame, on the disk, renamed as `Core.record` does.

    Returns start_ms, end_ms (as the file's times tell) and frames, which with the form make the new name; None, and the
    file is gone, if it holds no frame. Reads headers only, whatever the size. Nobody may be writing the file. CoreError
    if the name is not that of a `.part`, or the disk fails.
    """

@final
class Tap:
    """A copy of one receiver's packets; closed when dropped."""

    def read(self, limit: int = 256) -> list[tuple[int, str, bytes]]:
        """(arrival in µs of the UNIX epoch, "udp" or "tcp", packet) in order of arrival; empty if none wait."""
    @property
    def dropped(self) -> int: ...
    def close(self) -> None: ...

@final
class Unit:
    """A coded picture, or a run of coded sound."""

    @property
    def kind(self) -> Literal["video", "audio"]: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def pts_90k(self) -> int:
        """When to show it, in ticks of 90 kHz on the stream's own clock: it begins near zero and never wraps."""
    @property
    def dts_90k(self) -> int:
        """When to decode it; strictly rising within a track."""
    @property
    def key(self) -> bool:
        """Decoding can start here; always for sound."""
    @property
    def data(self) -> bytes:
        """Video: NAL units with start codes, parameter sets before each key frame. AAC: a frame without ADTS header.
        G.711: samples. Opus: a packet."""

@final
class UnitTracks:
    """The tracks of the units that follow."""

    @property
    def kind(self) -> Literal["tracks"]: ...
    @property
    def video(self) -> Literal["H264", "H265"] | None: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def sps(self) -> bytes:
        """The first sequence parameter set, from its NAL header on; empty without video."""
    @property
    def audio(self) -> AudioCodec | None: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def config(self) -> bytes:
        """`AudioSpecificConfig` of AAC, `OpusHead` of Opus, else empty."""

@final
class Subscription:
    """A stream's units for one reader; it ends when dropped."""

    @property
    def fd(self) -> int:
        """A descriptor that is readable while units wait, and after the end; it stays ours, do not close it."""
    def read(self, limit: int = 64) -> list[Unit | UnitTracks] | None:
        """Up to `limit` units in order, their tracks before the first one that has them; empty if none wait, None if
        the stream, or this, has ended."""
    @property
    def dropped(self) -> int:
        """Units lost because too many waited, or that came before one could begin."""
    def close(self) -> None: ...

@final
class Feed:
    """The frames of a stream that `open_feed` opened; the stream ends when this is dropped. Nothing here waits."""

    @property
    def id(self) -> int:
        """The stream's receiver id."""
    def announce_audio(self, codec: str, *, channels: int = 1, config: bytes = b"") -> None:
        """Sound of this coding is to come: the start waits up to a second for it. AAC needs its `AudioSpecificConfig`.
        ValueError for what cannot be carried, CoreError after the end."""
    def push(self, codec: str, pts_90k: int, dts_90k: int, data: bytes) -> bool:
        """Takes a frame of H264 or H265 (with start codes), or of the sound that was announced: AAC without ADTS
        header, samples of G.711, a packet of Opus. False if it was dropped because 8 MiB or 512 frames wait: then
        pictures are up to the next key frame. ValueError for an unknown coding, CoreError after the end."""
    @property
    def dropped(self) -> int: ...
    def close(self, reason: str) -> None:
        """Ends the stream, once what waits was fed: event `ended` with the reason."""
