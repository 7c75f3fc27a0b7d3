"""RTP packets of pictures and sound in one sequence, as a device sends them without a program stream."""

import struct
from collections.abc import Callable
from typing import Final, cast

import av

from gateway.simulator.model import AccessUnit
from tests.media.matrix.material import Film

SSRC: Final = 115_000_003
VIDEO: Final = 96
SOUNDS: Final = {"pcm_alaw": (8, "PCMA"), "pcm_mulaw": (0, "PCMU"), "aac": (97, "MPEG4-GENERIC"), "opus": (97, "OPUS")}
"""Payload types and names."""
RTCP: Final = range(200, 205)


class _Packets(list[bytes]):
    """What FFmpeg writes to, packet by packet."""

    def write(self, data: bytes) -> int:
        self.append(bytes(data))
        return len(data)


def _with_sets(packet: av.Packet, picture: bytes) -> av.Packet:
    """The packet with the NAL units of the same picture that has its parameter sets: the file keeps them apart."""
    nals = [nal for nal in picture.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal]
    made = av.Packet(b"".join(struct.pack(">I", len(nal)) + nal for nal in nals))
    made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
    return made


def packets_of(film: Film) -> tuple[Callable[[AccessUnit], list[bytes]], list[tuple[int, str]]]:
    """What makes the packets of the film's units, which must come in order; and what an answer says of them."""
    pictures = (unit.data for unit in film.units() if unit.is_video)
    made: list[tuple[bool, float, list[bytes]]] = []
    with av.open(str(film.file)) as given:
        outs = {}
        for stream in given.streams:
            sink = _Packets()
            number = VIDEO if stream.type == "video" else SOUNDS[film.audio][0]
            options = {"packetsize": "1400", "payload_type": str(number)}
            out = av.open(sink, "w", format="rtp", options=options)
            outs[stream.index] = (sink, out, out.add_stream_from_template(stream))
        for packet in given.demux():
            if packet.dts is None or packet.time_base is None:
                continue
            sink, out, target = outs[packet.stream.index]
            sink.clear()
            at, is_video = float(packet.dts * packet.time_base), packet.stream.type == "video"
            sent = _with_sets(packet, next(pictures)) if is_video else packet
            sent.stream = cast("av.VideoStream", target)
            out.mux(sent)
            made.append((is_video, at, [data for data in sink if data[1] not in RTCP]))
    made.sort(key=lambda each: (each[1], not each[0]))
    ready = iter(made)
    number = 0

    def packets(unit: AccessUnit) -> list[bytes]:
        nonlocal number
        is_video, _, found = next(ready)
        assert is_video == unit.is_video
        numbered = []
        for data in found:
            numbered.append(
                data[:2] + struct.pack(">H", number & 0xFFFF) + data[4:8] + struct.pack(">I", SSRC) + data[12:]
            )
            number += 1
        return numbered

    main = {"h264": "H264", "hevc": "H265"}[film.video]
    return packets, [(VIDEO, main)] + ([SOUNDS[film.audio]] if film.audio != "none" else [])
