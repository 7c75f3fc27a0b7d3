"""The picture and the sound inside a program stream: codecs, sizes, rates, GOPs. Pure."""

from collections import Counter, deque

from gateway.inspect.oddities import Finding, Findings
from gateway.inspect.report import AudioReport, VideoReport
from media.formats.nal import (
    H264_TYPES,
    H265_TYPES,
    NalError,
    PictureFormat,
    h264_type,
    h265_type,
    parse_h264_sps,
    parse_h265_sps,
)

CLOCK_HZ = 90_000
UNIT_BYTES_MAX = 4 << 20
UNSTAMPED_MAX = 25
_START = b"\x00\x00\x01"
_JUMP = 10 * CLOCK_HZ
_WRAP = 1 << 33
_ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


class VideoTrack:
    """Takes the payloads of video PES packets and follows the pictures in them.

    Pictures are told apart by their NAL units (ITU-T H.264 §7.4.1.2.3, H.265 §7.4.2.4.4), for some muxers cut packets
    anywhere; a time stamp belongs to the first picture that begins in its packet (ISO/IEC 13818-1 §2.4.3.7).
    """

    def __init__(self, findings: Findings) -> None:
        self.codec = ""
        self.key_frames = 0
        self._findings = findings
        self._format: PictureFormat | None = None
        self._buffer = bytearray()
        self._searched = self._passed = 0  # bytes of the buffer known to hold no start code; bytes before the buffer
        self._stamps: deque[tuple[int, int]] = deque(maxlen=64)  # offset at which a stamped packet begins, its time
        self._is_begun = self._has_slice = self._has_key = False  # of the picture that is being collected
        self._time: int | None = None  # of that picture
        self._size = 0
        self._before: int | None = None
        self._elapsed = self._steps = self._unstamped = 0
        self._pictures = self._since_key = self._bytes = self._largest = 0
        self._gop: int | None = None
        self._types: Counter[str] = Counter()
        self._parameter_sets = False

    def handle(self, payload: bytes, pts: int | None, dts: int | None, where: str) -> None:
        """A PES packet's payload."""
        time = pts if dts is None else dts
        if time is not None:
            self._stamps.append((self._passed + len(self._buffer), time))
        self._buffer += payload
        while (end := self._buffer.find(_START, max(self._searched, 3 * self._buffer.startswith(_START)))) >= 0:
            self._take_nal(end, where)
        self._searched = max(0, len(self._buffer) - 2)
        if len(self._buffer) > UNIT_BYTES_MAX:
            self._drop(len(self._buffer))

    def gap(self) -> None:
        """Bytes are missing: what was begun is not counted."""
        self._drop(len(self._buffer))

    def finish(self) -> None:
        """The end of the stream ends the last picture."""
        self._take_nal(len(self._buffer), "the end")
        self._finish_picture("the end")

    def _take_nal(self, size: int, where: str) -> None:
        """Ends the NAL unit at the front of the buffer, `size` bytes with its start code."""
        raw = bytes(self._buffer[:size])
        if raw.startswith(_START) and (nal := raw[3:].rstrip(b"\0")):
            self._learn(nal, where)
            self._handle_nal(nal, where)
            self._size += size
        self._drop(size)

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._passed += size
        self._searched = 0

    def _handle_nal(self, nal: bytes, where: str) -> None:
        name, is_slice, is_key = self._kind(nal)
        self._types[name] += 1
        if self._has_slice and (not is_slice or self._is_first_slice(nal)):
            self._finish_picture(where)
        if not self._is_begun:
            self._is_begun = True
            while self._stamps and self._stamps[0][0] <= self._passed:
                self._time = self._stamps.popleft()[1]
        self._has_slice |= is_slice
        self._has_key |= is_key

    def _is_first_slice(self, nal: bytes) -> bool:
        """first_mb_in_slice is 0, or first_slice_segment_in_pic_flag is set: one bit in either codec."""
        at = 2 if self.codec == "H.265" else 1
        return len(nal) > at and nal[at] >= 0x80

    def report(self, announced: str | None) -> VideoReport | None:
        if not self._pictures:
            return None
        shown = self._format or PictureFormat(0, 0, "", 0.0)
        fps = self._steps * CLOCK_HZ / self._elapsed if self._elapsed > 0 else 0.0
        return VideoReport(
            self.codec or announced or "unknown",
            announced,
            shown.width,
            shown.height,
            shown.profile,
            shown.level,
            round(fps, 3),
            self._gop,
            self._pictures,
            self.key_frames,
            self._bytes,
            self._largest,
            dict(self._types.most_common()),
        )

    def _finish_picture(self, where: str) -> None:
        if not self._has_slice:
            return
        self._pictures += 1
        self._since_key += 1
        self._bytes += self._size
        self._largest = max(self._largest, self._size)
        self._clock(where)
        if self._has_key:
            self._key_frame(where)
        self._is_begun = self._has_slice = self._has_key = False
        self._time, self._size = None, 0

    def _clock(self, where: str) -> None:
        """Measures the time from the last stamped picture to this one."""
        self._unstamped += 1
        if self._unstamped > UNSTAMPED_MAX:
            self._findings.add(Finding.NO_PTS, where)
        if self._time is None:
            return
        if self._before is not None:
            step = ((self._time - self._before + _WRAP // 2) % _WRAP) - _WRAP // 2
            if abs(step) > _JUMP:
                self._findings.add(Finding.PTS_JUMP, where)
            else:
                self._elapsed += step
                self._steps += self._unstamped
        self._before, self._unstamped = self._time, 0

    def _key_frame(self, where: str) -> None:
        """Counts; the GOP is what lay between two."""
        if not self._parameter_sets:
            self._findings.add(Finding.NO_PARAMETER_SETS, where)
        if self.key_frames:
            self._gop = self._since_key
        self.key_frames += 1
        self._since_key = 0

    def _kind(self, nal: bytes) -> tuple[str, bool, bool]:
        """Name of the NAL unit; whether it is a slice; whether of a key frame."""
        if self.codec == "H.265":
            number = h265_type(nal)
            return H265_TYPES.get(number, f"type {number}"), number < 32, 16 <= number <= 21
        number = h264_type(nal)
        return H264_TYPES.get(number, f"type {number}"), 1 <= number <= 5, number == 5

    def _learn(self, nal: bytes, where: str) -> None:
        """Parameter sets tell the codec for certain, whatever the stream map says."""
        is_h265 = len(nal) > 2 and nal[0] in {0x40, 0x42, 0x44} and nal[1] == 1
        is_h264 = not is_h265 and nal[0] & 0x9F == 7
        if not (is_h265 or is_h264):
            return
        codec = "H.265" if is_h265 else "H.264"
        self._parameter_sets = True
        if self.codec and self.codec != codec:
            self._findings.add(Finding.CODEC_CHANGE, where)
        self.codec = codec
        if is_h264 or h265_type(nal) == 33:
            self._read_size(nal, is_h265, where)

    def _read_size(self, nal: bytes, is_h265: bool, where: str) -> None:
        try:
            shown = parse_h265_sps(nal) if is_h265 else parse_h264_sps(nal)
        except NalError:
            return
        if self._format is not None and (shown.width, shown.height) != (self._format.width, self._format.height):
            self._findings.add(Finding.CODEC_CHANGE, where)
        self._format = shown


class AudioTrack:
    """Takes the payloads of audio PES packets."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._packets = self._bytes = self._rate = self._channels = 0
        self._is_adts = False

    @property
    def packets(self) -> int:
        return self._packets

    def handle(self, payload: bytes) -> None:
        """One PES packet's payload."""
        self._packets += 1
        self._bytes += len(payload)
        if len(payload) >= 7 and payload[0] == 0xFF and payload[1] & 0xF6 == 0xF0:
            self._is_adts = True
            index = payload[2] >> 2 & 15
            self._rate = _ADTS_RATES[index] if index < len(_ADTS_RATES) else 0
            self._channels = (payload[2] & 1) << 2 | payload[3] >> 6

    def report(self, announced: str | None) -> AudioReport | None:
        if not self._packets:
            return None
        if announced == "AAC" and not self._is_adts:
            self._findings.add(Finding.AAC_WITHOUT_ADTS)
        if self._is_adts and announced not in {None, "AAC"}:
            self._findings.add(Finding.PSM_CONTRADICTS, detail=f"sound is AAC, the map says {announced}")
        codec = "AAC" if self._is_adts else announced or "G.711A (assumed)"
        is_g711 = codec.startswith("G.711")
        rate, channels = (8_000, 1) if is_g711 else (self._rate, self._channels)
        return AudioReport(codec, announced, rate, channels, self._packets, self._bytes)
