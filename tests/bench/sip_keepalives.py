"""How many keepalive MESSAGEs a second one core answers through `Endpoint` over UDP on loopback.

    python tests/bench/sip_keepalives.py [--count 100000] [--devices 5000] [--window 256] [--profile FILE]

The sender is another process that keeps `window` requests unanswered. On a busy machine the rate says little; the
processor time of the answering process for each message says it all, and `capacity` is its inverse.
"""

import argparse
import asyncio
import cProfile
import json
import multiprocessing
import os
import resource
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sip.endpoint import Endpoint
from sip.incoming import Incoming
from sip.transport import Listen

BODY = (
    '<?xml version="1.0" encoding="GB2312"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>{sn}</SN>\r\n'
    "<DeviceID>{device}</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n"
)


def keepalive(number: int, devices: int) -> bytes:
    """One keepalive as a Hikvision camera writes it."""
    device = 34020000001320000000 + number % devices
    body = BODY.format(sn=number, device=device)
    return (
        f"MESSAGE sip:34020000002000000001@3402000000 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK{number:010d}\r\n"
        f"From: <sip:{device}@3402000000>;tag={number:09d}\r\n"
        f"To: <sip:34020000002000000001@3402000000>\r\n"
        f"Call-ID: {number:010d}\r\n"
        f"CSeq: 20 MESSAGE\r\n"
        f"Content-Type: Application/MANSCDP+xml\r\n"
        f"Max-Forwards: 70\r\n"
        f"User-Agent: IP Camera\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def send_all(port: int, count: int, devices: int, window: int, done: Connection) -> None:
    """Sends `count` keepalives, `window` of them unanswered at a time; tells (answered, seconds)."""
    messages = [keepalive(number, devices) for number in range(count)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(2.0)
    started, answered, sent = time.perf_counter(), 0, 0
    try:
        while answered < count:
            while sent < count and sent - answered < window:
                sock.send(messages[sent])
                sent += 1
            answered += sock.recv(65_535).startswith(b"SIP/2.0 200")
    except TimeoutError:
        pass
    done.send((answered, time.perf_counter() - started))


async def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Runs the endpoint in this process against the sender in another."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    async with Endpoint([Listen("UDP", arguments.host, 0)]) as endpoint:
        endpoint.on("MESSAGE", answer)
        port = endpoint.addresses[0][1].port
        sender = multiprocessing.Process(
            target=send_all, args=(port, arguments.count, arguments.devices, arguments.window, theirs)
        )
        before = rss_bytes()
        sender.start()
        profile = cProfile.Profile() if arguments.profile else None
        while not endpoint.counters["messages.received"]:  # noqa: ASYNC110 - the sender is another process
            await asyncio.sleep(0.01)
        cpu = time.process_time()
        if profile:
            profile.enable()
        while not ours.poll():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if profile:
            profile.disable()
            profile.dump_stats(arguments.profile)
        cpu = time.process_time() - cpu
        sender.join()
        answered, seconds = ours.recv()
        held = endpoint.counters["transactions.answered"]
        return {
            "answered": answered,
            "rate_per_s": round(answered / seconds),
            "cpu_us_per_message": round(cpu / answered * 1e6, 1),
            "capacity_per_s": round(answered / cpu),
            "remembered": held,
            "bytes_per_remembered": round((rss_bytes() - before) / max(held, 1)),
        }


def answer(incoming: Incoming) -> None:
    """The trivial handler."""
    incoming.respond(200)


def rss_bytes() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=5_000)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--core", type=int, help="pin the answering process to this core")
    parser.add_argument("--profile", help="write a cProfile of the answering process here (slows it down)")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    if arguments.loop == "uvloop":
        import uvloop

        result = uvloop.run(measure(arguments))
    else:
        result = asyncio.run(measure(arguments))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
