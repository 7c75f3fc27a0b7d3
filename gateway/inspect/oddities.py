"""The departures that an inspection can name, each with its meaning and where to read about it."""

from enum import Enum

from gateway.inspect.report import Oddity, Severity

_PS = "ISO/IEC 13818-1 §2.5"
_GB_C = "GB/T 28181-2016 annex C"


class Finding(Enum):
    """Name → severity, meaning, reference."""

    # RTP
    SSRC_ZERO = ("note", "SSRC 0, as Dahua devices send; the stream is known by its port", "RFC 3550 §8")
    SSRC_DIFFERS = ("warning", "the SSRC is not the one that y= asked for or answered", "GB/T 28181-2016 annex F")
    MARKER_NEVER = (
        "note",
        "the marker bit is never set: a frame's end shows with the next packet only",
        "RFC 2250 §2.1",
    )
    MARKER_ALWAYS = ("note", "the marker bit is set on every packet and says nothing", "RFC 2250 §2.1")
    LOSS = ("error", "packets are missing", "RFC 3550 §A.3")
    REORDERED = ("note", "packets came after later ones", "RFC 3550 §A.1")
    DUPLICATES = ("note", "packets came twice", "RFC 3550 §A.1")
    SEQUENCE_RESTART = ("warning", "the sequence number jumped: the sender began anew", "RFC 3550 §A.1")
    RTP_TIMESTAMP_JUMP = ("warning", "the RTP time stamp jumped by more than 10 s", "RFC 3550 §5.1")
    RTP_TIMESTAMP_FROZEN = ("warning", "several frames carry one RTP time stamp", "RFC 3550 §5.1")
    MIXED_PAYLOAD = ("warning", "packets that are no program stream stand between those that are", _GB_C)
    PAYLOAD_UNKNOWN = ("error", "the payload is none that the standard knows", _GB_C)
    PAYLOAD_TYPE_CHANGES = ("note", "more than one payload type in one source", "RFC 3550 §5.1")
    PACKET_TOO_LONG = ("note", "payloads above 1400 bytes are fragmented on most networks", _GB_C)
    UNREADABLE_RTP = ("warning", "a packet that is no RTP", "RFC 3550 §5.1")
    DOLLAR_FRAMING = ("note", "TCP framed as in RTSP ($, channel, length) in place of two length bytes", "RFC 4571 §2")
    TCP_GARBAGE = ("warning", "bytes on the connection that belong to no packet", "RFC 4571 §2")
    # program stream
    BARE_PACK = ("note", "a pack start code without its header, as Hikvision's H.265 has", f"{_PS}.3.3")
    MPEG1_PACK = ("warning", "a pack header of MPEG-1", f"{_PS}.3.3")
    PES_LENGTH_ZERO = ("note", "PES length 0: the packet ends where the next start code is", "ISO/IEC 13818-1 §2.4.3.7")
    PES_TRUNCATED = ("error", "a packet ends before its length is reached", "ISO/IEC 13818-1 §2.4.3.7")
    PES_TOO_SHORT = ("warning", "a packet goes on after its length is reached", "ISO/IEC 13818-1 §2.4.3.7")
    PES_UNREADABLE = ("error", "the fields of an element contradict its length", _PS)
    PES_TOO_LONG = ("error", "a packet longer than any access unit", "ISO/IEC 13818-1 §2.4.3.7")
    GARBAGE = ("error", "bytes that belong to no element; reading goes on at the next start code", _PS)
    STARTS_IN_THE_MIDDLE = ("note", "the stream does not begin with a pack header", _PS)
    NO_SYSTEM_HEADER = ("note", "no system header before the first key frame", f"{_PS}.3.5")
    NO_PSM = ("warning", "no program stream map: codecs have to be guessed", f"{_PS}.4")
    PSM_ONCE = ("warning", "not every key frame has a program stream map: late viewers have to guess", _GB_C)
    PSM_CRC = ("note", "the CRC of the program stream map is wrong", f"{_PS}.4.1")
    PSM_LENGTH = ("note", "elementary_stream_map_length contradicts the map's length", f"{_PS}.4.1")
    PSM_CONTRADICTS = ("warning", "the program stream map names another codec than the stream carries", _GB_C)
    PSM_WITHOUT_AUDIO = ("warning", "sound is sent that the program stream map does not name", _GB_C)
    AUDIO_NEVER = ("note", "the map names sound, none is sent", _GB_C)
    PRIVATE_DATA = ("note", "private packets (BD, BF), skipped by their length", "ISO/IEC 13818-1 table 2-22")
    NO_PTS = ("warning", "pictures without a time stamp", "ISO/IEC 13818-1 §2.7.4")
    PTS_JUMP = ("warning", "the time stamps jumped by more than 10 s", "ISO/IEC 13818-1 §2.7.4")
    PTS_BACKWARDS = ("warning", "decoding times run backwards", "ISO/IEC 13818-1 §2.7.4")
    CODEC_CHANGE = ("note", "codec or size of the picture changed in mid-stream", _GB_C)
    NO_KEY_FRAME = ("error", "no key frame: nothing can be shown", _GB_C)
    NO_PARAMETER_SETS = ("error", "a key frame without parameter sets before it", "ITU-T H.264 §7.4.1.2.1")
    AAC_WITHOUT_ADTS = (
        "warning",
        "AAC without ADTS headers: rate and channels have to be guessed",
        "GB/T 28181-2022 annex C",
    )
    # signalling
    SIP_DEVIATION = ("note", "a departure from SIP syntax that is tolerated", "RFC 3261 §25")
    SIP_UNREADABLE = ("error", "a message that cannot be read", "RFC 3261 §7")
    NO_Y = ("note", "the answer has no y= line: the offered SSRC counts", "GB/T 28181-2016 annex F")
    Y_CHANGED = ("note", "the answer states an SSRC of its own: it counts", "GB/T 28181-2016 annex F")
    NO_SETUP = ("note", "an answer over TCP without a=setup: taken as the opposite of the offer", "RFC 4145 §4")
    SAME_SETUP = ("note", "offer and answer state the same a=setup: taken as the opposite", "RFC 4145 §4")
    UDP_FOR_TCP = ("warning", "TCP was offered and UDP answered", "GB/T 28181-2016 annex L")
    NO_MEDIA = ("error", "the call was answered and no media followed", "GB/T 28181-2016 §9.2")
    UNANSWERED = ("warning", "a request without any response", "RFC 3261 §17.1")

    def __init__(self, severity: Severity, meaning: str, reference: str) -> None:
        self.severity: Severity = severity
        self.meaning = meaning
        self.reference = reference


class Findings:
    """Counts findings and remembers where each was first seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Finding, str], tuple[int, str]] = {}

    def add(self, finding: Finding, where: str = "", *, detail: str = "", count: int = 1) -> None:
        """Notes `finding` `count` times; those with different `detail` are counted apart (at most 64 kinds)."""
        key = (finding, detail)
        if key not in self._seen and len(self._seen) >= 64:
            return
        before, first = self._seen.get(key, (0, where))
        self._seen[key] = (before + count, first)

    def __contains__(self, finding: Finding) -> bool:
        return any(known is finding for known, _ in self._seen)

    def oddities(self) -> list[Oddity]:
        """Gravest first."""
        order = {"error": 0, "warning": 1, "note": 2}
        found = [
            Oddity(
                finding.name.lower(),
                finding.severity,
                count,
                first,
                f"{finding.meaning}: {detail}" if detail else finding.meaning,
                finding.reference,
            )
            for (finding, detail), (count, first) in self._seen.items()
        ]
        return sorted(found, key=lambda oddity: order[oddity.severity])
