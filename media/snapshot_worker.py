"""Decodes key frames and writes them as JPEG; the process behind `media.snapshots`.

Reads orders from standard input and answers on standard output, each behind its length in four bytes. An order is
codec, width and quality in a line, then the key frame; an answer is the picture, or nothing. What a device sends is
decoded by a library in C: whatever that does to this process, the gateway's stays.
"""

import io
import resource
import struct
import sys
from typing import IO, Final

import av
from av.error import FFmpegError

MEMORY_MAX: Final = 2 * 1024**3
SIDE_MAX: Final = 8192
_DECODERS: Final = {"H264": "h264", "H265": "hevc"}


def picture(codec: str, width: int, quality: int, data: bytes) -> bytes:
    """The key frame as JPEG, at most `width` wide (0: as it is); empty if it cannot be decoded."""
    try:
        decoder = av.CodecContext.create(_DECODERS[codec], "r")
        decoder.thread_count = 1
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]  # type: ignore[attr-defined]
        if not frames or max(frames[0].width, frames[0].height) > SIDE_MAX:
            return b""
        frame = frames[0]
        scale = min(1.0, width / frame.width) if width else 1.0
        sides = (max(2, round(frame.width * scale / 2) * 2), max(2, round(frame.height * scale / 2) * 2))
        with io.BytesIO() as sink, av.open(sink, "w", format="mjpeg") as out:
            stream = out.add_stream("mjpeg", rate=25)
            stream.width, stream.height = sides
            stream.pix_fmt = "yuvj420p"
            # From quality 1..100 to the encoder's quantiser 31..2.
            stream.codec_context.qmin = stream.codec_context.qmax = round(31 - (quality - 1) * 29 / 99)
            shown = frame.reformat(*sides, format="yuvj420p", dst_color_range="JPEG")
            shown.pts = None
            for packet in [*stream.encode(shown), *stream.encode(None)]:
                out.mux(packet)
            return sink.getvalue()
    except (FFmpegError, ValueError, MemoryError):
        return b""


def main(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answers orders until the other end closes."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    av.logging.set_level(None)
    while len(size := source.read(4)) == 4:
        order = source.read(struct.unpack(">I", size)[0])
        head, _, data = order.partition(b"\n")
        codec, width, quality = head.decode().split()
        answer = picture(codec, int(width), int(quality), data)
        sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
