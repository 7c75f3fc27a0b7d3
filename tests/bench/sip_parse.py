"""What reading one keepalive MESSAGE costs, with its Via, From, To, Call-ID and CSeq, and answering it.

python tests/bench/sip_parse.py
"""

import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sip import Framer, Request, parse

BODY = (
    b'<?xml version="1.0" encoding="GB2312"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>43</SN>\r\n'
    b"<DeviceID>31011500001180000002</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n"
)
MESSAGE = (
    b"MESSAGE sip:31011500002000000001@3101150000 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.20:5060;rport;branch=z9hG4bK7c1f55\r\n"
    b"From: <sip:31011500001180000002@3101150000>;tag=ka-43\r\n"
    b"To: <sip:31011500002000000001@3101150000>\r\n"
    b"Call-ID: ka-43-9d1e@198.51.100.20\r\n"
    b"CSeq: 43 MESSAGE\r\n"
    b"Max-Forwards: 70\r\n"
    b"User-Agent: SimNVR/1.0\r\n"
    b"Content-Type: Application/MANSCDP+xml\r\n"
    b"Content-Length: %d\r\n\r\n%b"
) % (len(BODY), BODY)


def read() -> tuple[object, ...]:
    message = parse(MESSAGE)
    return message.via.branch, message.from_.uri.user, message.to.uri.user, message.call_id, message.cseq.number


def answer() -> bytes:
    return bytes(REQUEST.response(200, to_tag="p-1"))


def stream() -> int:
    framer = Framer()
    framer.handle_data(0.0, MESSAGE * 10)
    count = 0
    while framer.poll_message() is not None:
        count += 1
    return count


def measure(name: str, work: Callable[[], object], per_call: int = 1) -> None:
    """Prints the best of ten rounds, in microseconds of processor time a message."""
    rounds = timeit.repeat(work, number=1000, repeat=10, timer=time.process_time)
    print(f"{name:<40}{min(rounds) * 1e6 / 1000 / per_call:8.1f} µs")


if __name__ == "__main__":
    message = parse(MESSAGE)
    assert isinstance(message, Request)
    REQUEST = message
    measure("datagram: parse and typed access", read)
    measure("stream: ten at once, each", stream, 10)
    measure("200 to it, written", answer)
