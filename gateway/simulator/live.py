"""Pictures encoded while they are sent, with the time of day burnt in: what the demonstration shows."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from av.video.frame import VideoFrame

from gateway.simulator.clip import Clip, ClipSpec, clip, stamped, test_pictures, video_encoder
from gateway.simulator.model import CLOCK_HZ, AccessUnit, AudioCodec, VideoCodec

FRAMES_MAX = 1 << 40


class LiveSource:
    """Encodes one picture at a time in a worker thread; the sound is that of a clip.

    `now` tells the time of day (aware); it is asked once, later pictures count from there.
    """

    def __init__(self, spec: ClipSpec, sound: Clip, now: Callable[[], datetime]) -> None:
        codec = spec.video or VideoCodec.H264
        self.video: VideoCodec | None = codec
        self.audio: AudioCodec | None = spec.audio
        self._spec = spec
        self._tick = CLOCK_HZ // spec.fps
        self._encoder = video_encoder(replace(spec, b_frames=0), codec, preset="ultrafast")
        self._pictures = test_pictures(spec, FRAMES_MAX)
        self._frame = 0
        self._now = now
        self._started: datetime | None = None
        self._sound = self._endless(sound)
        self._next_sound = next(self._sound, None)

    @classmethod
    async def open(cls, spec: ClipSpec, now: Callable[[], datetime]) -> "LiveSource":
        """Encodes the sound first, if no other source has, without holding up the loop."""
        sound = await asyncio.to_thread(clip, replace(spec, video=None, label="", file=None))
        return cls(spec, sound, now)

    @staticmethod
    def _endless(sound: Clip) -> Iterator[AccessUnit]:
        units = [unit for unit in sound.units if not unit.is_video]
        shift = 0
        while units:
            yield from (unit.at(shift) for unit in units)
            shift += sound.duration

    async def next_unit(self) -> AccessUnit:
        """The next picture or sound."""
        due = self._frame * self._tick
        if self._next_sound is not None and self._next_sound.dts < due:
            unit, self._next_sound = self._next_sound, next(self._sound, None)
            return unit
        return await asyncio.get_running_loop().run_in_executor(None, self._encode)

    def _encode(self) -> AccessUnit:
        if self._started is None:
            self._started = self._now()
        shown = self._started + timedelta(seconds=self._frame / self._spec.fps)
        frame = self._stamp(next(self._pictures), shown)
        pts = self._frame * self._tick
        self._frame += 1
        packets = self._encoder.encode(frame)
        data = b"".join(bytes(packet) for packet in packets)
        return AccessUnit(True, any(packet.is_keyframe for packet in packets), pts, pts, data)

    def _stamp(self, picture: VideoFrame, shown: datetime) -> VideoFrame:
        text = f"{shown:%Y-%m-%d %H:%M:%S}.{shown.microsecond // 100_000}"
        frame = stamped(picture, (self._spec.label, text))
        frame.pts, frame.time_base = self._frame, Fraction(1, self._spec.fps)
        return frame
