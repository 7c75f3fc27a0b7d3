"""The relay on asyncio: `media._core.Core` as an async context manager whose events come to one callback.

A translation and nothing else: no rule lives here. All calls but the snapshots (`stream`, `streams`) are made from the
loop's thread and return at once; starting and closing wait for threads and so are made in one. Snapshots wait too, some
milliseconds as a rule and two seconds at worst: whoever wants many, or must not wait, takes them in a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from media._core import Core, Event, Feed, KeyFrame, Push, Receiver, Sender, SenderStats, Stream, Tap, Viewer
from media.units import Units

if TYPE_CHECKING:
    from media._core import Transport

__all__ = ["Event", "Relay"]

_EVENTS_AT_ONCE = 256
"""Then the loop's other work has its turn; the descriptor stays readable."""


class Relay:
    """The relay of this process; ready when entered, gone when left. The settings are those of `Core`."""

    def __init__(
        self,
        *,
        play_key: bytes,
        rtp_host: str = "::",
        rtp_port_min: int = 30000,
        rtp_port_max: int = 39999,
        rtp_shared_port: int = 0,
        threads: int = 0,
        silence_ms: int = 5000,
        no_viewer_ms: int = 0,
        gop_bytes_max: int = 16_777_216,
        bandwidth_max_bps: int = 40_000_000,
        hls_segment_ms: int = 2000,
        merge_write_ms: int = 0,
        trusted_proxies: Sequence[str] = (),
        hold_ms: int = 200,
        viewers_max: int = 0,
    ) -> None:
        """`hold_ms` and `viewers_max` are those of streams which are opened without their own."""
        self._hold_ms = hold_ms
        self._viewers_max = viewers_max
        self._start = lambda: Core(
            play_key=play_key,
            rtp_host=rtp_host,
            rtp_port_min=rtp_port_min,
            rtp_port_max=rtp_port_max,
            rtp_shared_port=rtp_shared_port,
            threads=threads,
            silence_ms=silence_ms,
            no_viewer_ms=no_viewer_ms,
            gop_bytes_max=gop_bytes_max,
            bandwidth_max_bps=bandwidth_max_bps,
            hls_segment_ms=hls_segment_ms,
            merge_write_ms=merge_write_ms,
            trusted_proxies=trusted_proxies,
        )
        self._core: Core | None = None
        self._callback: Callable[[Event], None] | None = None
        self._opened: Callable[[str, str, int], None] = lambda app, name, receiver: None

    async def __aenter__(self) -> Self:
        self._core = await asyncio.to_thread(self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        core = self.core
        if self._callback is not None:
            asyncio.get_running_loop().remove_reader(core.event_fd())
            self._callback = None
        await asyncio.to_thread(core.close)

    @property
    def core(self) -> Core:
        """The core; RuntimeError before the relay was entered."""
        if self._core is None:
            raise RuntimeError("the relay was not started: enter it first")
        return self._core

    def listen(self, callback: Callable[[Event], None]) -> None:
        """Gives every event, from those that wait on, to `callback`, in the loop's thread; one listener only."""
        if self._callback is not None:
            raise RuntimeError("somebody listens already")
        self._callback = callback
        asyncio.get_running_loop().add_reader(self.core.event_fd(), self._deliver)

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        for event in self.core.poll_events(_EVENTS_AT_ONCE):
            callback = self._callback
            if callback is not None:
                # As its own callback, so that what one event breaks does not lose the others.
                loop.call_soon(callback, event)

    def when_opened(self, told: Callable[[str, str, int], None]) -> None:
        """`told` is called with app, name and receiver of each stream, as soon as it is open and before the call that
        opened it returns."""
        self._opened = told

    def listen_http(self, host: str, port: int, upstream: str) -> int:
        """Opens the front door and returns its port (`Core.listen_http`)."""
        return self.core.listen_http(host, port, upstream)

    def listen_rtmp(self, host: str, port: int) -> int:
        """Opens an RTMP port and returns it (`Core.listen_rtmp`)."""
        return self.core.listen_rtmp(host, port)

    def listen_rtsp(self, host: str, port: int, *, realm: str | None = None) -> int:
        """Opens an RTSP port and returns it (`Core.listen_rtsp`)."""
        return self.core.listen_rtsp(host, port, realm=realm)

    def listen_https(self, host: str, port: int, upstream: str, *, certificate: str, key: str) -> int:
        """Opens the front door behind TLS and returns its port (`Core.listen_https`)."""
        return self.core.listen_https(host, port, upstream, certificate=certificate, key=key)

    def listen_rtmps(self, host: str, port: int, *, certificate: str, key: str) -> int:
        """Opens an RTMPS port and returns it (`Core.listen_rtmps`)."""
        return self.core.listen_rtmps(host, port, certificate=certificate, key=key)

    def listen_rtsps(self, host: str, port: int, *, certificate: str, key: str, realm: str | None = None) -> int:
        """Opens an RTSPS port and returns it (`Core.listen_rtsps`)."""
        return self.core.listen_rtsps(host, port, certificate=certificate, key=key, realm=realm)

    def accept_publish(
        self,
        ticket: int,
        app: str,
        name: str,
        *,
        private: bool = True,
        generation: int = 0,
        viewers_max: int | None = None,
    ) -> int:
        """Lets a publisher begin and returns the stream's receiver id (`Core.accept_publish`)."""
        receiver = self.core.accept_publish(
            ticket,
            app,
            name,
            private=private,
            generation=generation,
            viewers_max=self._viewers_max if viewers_max is None else viewers_max,
        )
        self._opened(app, name, receiver)
        return receiver

    def refuse_publish(self, ticket: int, reason: str, *, unauthorized: bool = False) -> None:
        """Sends a publisher away (`Core.refuse_publish`)."""
        self.core.refuse_publish(ticket, reason, unauthorized=unauthorized)

    def open_receiver(
        self,
        app: str,
        name: str,
        *,
        transport: "Transport",
        shared: bool = False,
        ssrc: int | None = None,
        peer: str | None = None,
        any_peer: bool = False,
        hold_ms: int | None = None,
        private: bool = True,
        generation: int = 0,
        viewers_max: int | None = None,
    ) -> Receiver:
        """Opens a receiver (`Core.open_receiver`)."""
        receiver = self.core.open_receiver(
            app,
            name,
            transport=transport,
            shared=shared,
            ssrc=ssrc,
            peer=peer,
            any_peer=any_peer,
            hold_ms=self._hold_ms if hold_ms is None else hold_ms,
            private=private,
            generation=generation,
            viewers_max=self._viewers_max if viewers_max is None else viewers_max,
        )
        self._opened(app, name, receiver.id)
        return receiver

    def open_pull(
        self,
        app: str,
        name: str,
        url: str,
        *,
        private: bool = True,
        generation: int = 0,
        viewers_max: int | None = None,
        allow_private: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        transport: Literal["tcp", "udp"] = "tcp",
        command: Sequence[str] = (),
        label: str = "",
    ) -> Receiver:
        """Opens a stream that is fetched from a server (`Core.open_pull`)."""
        receiver = self.core.open_pull(
            app,
            name,
            url,
            private=private,
            generation=generation,
            viewers_max=self._viewers_max if viewers_max is None else viewers_max,
            allow_private=allow_private,
            headers=headers,
            transport=transport,
            command=command,
            label=label,
        )
        self._opened(app, name, receiver.id)
        return receiver

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
        """Lets another input feed a pulled stream from now on (`Core.switch_pull`)."""
        self.core.switch_pull(receiver, url, headers=headers, transport=transport, command=command, label=label)

    def standby_pull(
        self, receiver: int, inputs: Sequence[tuple[str, str, Sequence[tuple[str, str]], str, Sequence[str]]]
    ) -> None:
        """Keeps inputs connected that do not feed the stream (`Core.standby_pull`)."""
        self.core.standby_pull(receiver, inputs)

    def open_feed(
        self,
        app: str,
        name: str,
        *,
        transport: Literal["whip", "derived"],
        private: bool = True,
        generation: int = 0,
        viewers_max: int | None = None,
    ) -> Feed:
        """Opens a stream whose frames are pushed (`Core.open_feed`)."""
        feed = self.core.open_feed(
            app,
            name,
            transport=transport,
            private=private,
            generation=generation,
            viewers_max=self._viewers_max if viewers_max is None else viewers_max,
        )
        self._opened(app, name, feed.id)
        return feed

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
    ) -> Units:
        """A stream's units, to be read with `async for` (`Core.subscribe`)."""
        return Units(
            self.core.subscribe(
                receiver,
                video=video,
                audio=audio,
                from_gop=from_gop,
                queue_bytes=queue_bytes,
                protocol=protocol,
                peer=peer,
                agent=agent,
            )
        )

    def open_sender(
        self,
        receiver: int,
        *,
        transport: "Transport" = "udp",
        host: str | None = None,
        port: int = 0,
        ssrc: int,
        payload: Literal["ps", "es"] = "ps",
        payload_type: int = 96,
        local_port: int = 0,
        video: bool = True,
        audio: bool = True,
        report_timeout_ms: int = 0,
        wait_ms: int = 30_000,
        over: int | None = None,
        rtcp: bool = False,
    ) -> Sender:
        """Sends a stream as RTP to a target (`Core.open_sender`)."""
        return self.core.open_sender(
            receiver,
            transport=transport,
            host=host,
            port=port,
            ssrc=ssrc,
            payload=payload,
            payload_type=payload_type,
            local_port=local_port,
            video=video,
            audio=audio,
            report_timeout_ms=report_timeout_ms,
            wait_ms=wait_ms,
            over=over,
            rtcp=rtcp,
        )

    def close_sender(self, sender: int) -> None:
        """Ends a sender (`Core.close_sender`)."""
        self.core.close_sender(sender)

    def senders(self) -> list[SenderStats]:
        """Snapshots of all senders."""
        return self.core.senders()

    def connect(self, receiver: int, host: str, port: int) -> None:
        """Lets an active receiver connect (`Core.connect`)."""
        self.core.connect(receiver, host, port)

    def expect(
        self,
        receiver: int,
        *,
        ssrc: int | None = None,
        peer: str | None = None,
        payloads: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Tells a receiver what the answer said (`Core.expect`)."""
        self.core.expect(receiver, ssrc=ssrc, peer=peer, payloads=payloads)

    def close_receiver(self, receiver: int) -> None:
        """Ends a stream and frees its port (`Core.close_receiver`)."""
        self.core.close_receiver(receiver)

    def open_push(
        self, receiver: int, url: str, *, allow_private: bool = False, transport: Literal["tcp", "udp"] = "tcp"
    ) -> int:
        """Sends a stream to another server; the push's id (`Core.open_push`)."""
        return self.core.open_push(receiver, url, allow_private=allow_private, transport=transport)

    def close_push(self, push: int) -> None:
        """Closes a push (`Core.close_push`)."""
        self.core.close_push(push)

    def pushes(self) -> list[Push]:
        """The pushes that are open."""
        return self.core.pushes()

    def set_private(self, app: str, name: str, private: bool) -> None:
        """Sets whether future viewers need a signed address."""
        self.core.set_private(app, name, private)

    def set_generation(self, app: str, name: str, generation: int) -> None:
        """Refuses addresses signed under another generation (`Core.set_generation`)."""
        self.core.set_generation(app, name, generation)

    def set_viewers_max(self, app: str, name: str, viewers_max: int) -> None:
        """Sets how many may watch at once; 0 means any number."""
        self.core.set_viewers_max(app, name, viewers_max)

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
        """Sets what is chosen for a stream, as long as it is open (`Core.set_options`)."""
        self.core.set_options(
            receiver,
            forms=forms,
            audio=audio,
            gop_bytes_max=gop_bytes_max,
            from_gop=from_gop,
            no_viewer_ms=no_viewer_ms,
            hls_segment_ms=hls_segment_ms,
            hls_segments=hls_segments,
            hls_always=hls_always,
            merge_write_ms=merge_write_ms,
        )

    def answer_play(self, ticket: int, allowed: bool) -> None:
        """Answers a `play` or `aac` event (`Core.answer_play`)."""
        self.core.answer_play(ticket, allowed)

    def sign(self, app: str, name: str, expires: int, generation: int = 0) -> str:
        """The query that lets its bearer play the stream until `expires` (UNIX seconds), in this generation."""
        return self.core.sign(app, name, expires, generation)

    def streams(self) -> list[Stream]:
        """A snapshot of all streams."""
        return self.core.streams()

    def stream(self, app: str, name: str) -> Stream | None:
        """A snapshot of one stream."""
        return self.core.stream(app, name)

    def viewers(self, app: str, name: str) -> list[Viewer]:
        """Who watches a stream (`Core.viewers`)."""
        return self.core.viewers(app, name)

    def kick(self, viewer: int) -> bool:
        """Sends a viewer away (`Core.kick`)."""
        return self.core.kick(viewer)

    def stream_count(self) -> int:
        """How many streams there are."""
        return self.core.stream_count()

    def tap(self, receiver: int, *, packets: int = 4096) -> Tap:
        """Copies of a receiver's packets, for diagnosis."""
        return self.core.tap(receiver, packets=packets)

    def record(
        self, receiver: int, *, directory: str, slice_ms: int, utc_offset_ms: int, tag: str, form: str | None = None
    ) -> int:
        """Records a stream into files; the recording's id (`Core.record`)."""
        return self.core.record(
            receiver, directory=directory, slice_ms=slice_ms, utc_offset_ms=utc_offset_ms, tag=tag, form=form
        )

    def stop_recording(self, recording: int) -> None:
        """Ends a recording (`Core.stop_recording`)."""
        self.core.stop_recording(recording)

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
    ) -> Receiver:
        """Plays recordings as a stream (`Core.open_playback`)."""
        receiver = self.core.open_playback(
            app,
            name,
            files,
            position_ms=position_ms,
            end_ms=end_ms,
            speed=speed,
            paused=paused,
            private=private,
            generation=generation,
            viewers_max=self._viewers_max,
        )
        self._opened(app, name, receiver.id)
        return receiver

    def playback_seek(self, receiver: int, position_ms: int) -> None:
        """Goes on elsewhere (`Core.playback_seek`)."""
        self.core.playback_seek(receiver, position_ms)

    def playback_speed(self, receiver: int, speed: float) -> None:
        """Goes on faster or slower (`Core.playback_speed`)."""
        self.core.playback_speed(receiver, speed)

    def playback_pause(self, receiver: int, paused: bool) -> None:
        """Stands still, or goes on (`Core.playback_pause`)."""
        self.core.playback_pause(receiver, paused)

    def key_frame(self, receiver: int) -> KeyFrame | None:
        """The newest key frame of a stream (`Core.key_frame`); waits as snapshots of figures do."""
        return self.core.key_frame(receiver)

    def metrics(self) -> dict[str, float]:
        """Counters of the whole core by Prometheus name."""
        return self.core.metrics()
