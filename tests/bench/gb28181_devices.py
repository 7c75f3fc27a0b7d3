"""How many devices one core registers and keeps alive: full digest registrations (durable) and keepalives, over UDP.

    python tests/bench/gb28181_devices.py [--devices 5000] [--keepalives 100000] [--window 256] [--profile FILE]

The devices are another process. On a busy machine the rates say little; the processor time of the answering process
for each registration or keepalive says it all, and `capacity` is its inverse. A registration is two REGISTERs, of which
the second is answered when SQLite has it on disk.
"""

import argparse
import asyncio
import cProfile
import hashlib
import json
import multiprocessing
import os
import re
import resource
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog
import uvloop

from gateway.accounts.model import Project, User
from gateway.clock import utc_now
from gateway.credentials.model import Credential, CredentialType
from gateway.devices.model import DeviceId, DeviceType
from gateway.gb28181.registrar import RegistrarPolicy
from gateway.gb28181.server import DevicePolicy, DeviceServer
from gateway.memory import settle_collector
from gateway.store import NewDevices, SecretBox, Store
from sip.endpoint import Endpoint
from sip.transport import Listen

SERVER, DOMAIN, PASSWORD = "34020000002000000001", "3402000000", "Secret-1234"
FIRST = 34020000001320000000
NONCE = re.compile(rb'nonce="([0-9a-f]+)"')
DEVICE = re.compile(rb"\nFrom: <sip:(\d{20})@")


def register(device: int, nonce: str | None) -> bytes:
    """A REGISTER as a camera writes it, with an answer to the challenge if there is one."""
    lines = [
        f"REGISTER sip:{SERVER}@{DOMAIN} SIP/2.0",
        f"Via: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK{device}{1 if nonce is None else 2}",
        f"From: <sip:{device}@{DOMAIN}>;tag={device % 10**9}",
        f"To: <sip:{device}@{DOMAIN}>",
        f"Call-ID: {device}",
        f"CSeq: {1 if nonce is None else 2} REGISTER",
        f"Contact: <sip:{device}@192.168.1.64:5060>",
        "Max-Forwards: 70",
        "User-Agent: IP Camera",
        "Expires: 3600",
    ]
    if nonce is not None:
        uri = f"sip:{SERVER}@{DOMAIN}"
        ha1, ha2 = _md5(f"fleet:{DOMAIN}:{PASSWORD}"), _md5(f"REGISTER:{uri}")
        lines.append(
            f'Authorization: Digest username="fleet", realm="{DOMAIN}", nonce="{nonce}", uri="{uri}", '
            f'response="{_md5(f"{ha1}:{nonce}:{ha2}")}", algorithm=MD5'
        )
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


def keepalive(number: int, devices: int) -> bytes:
    """One keepalive as a camera writes it."""
    device = FIRST + number % devices
    body = (
        f'<?xml version="1.0" encoding="GB2312"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>{number}</SN>\r\n'
        f"<DeviceID>{device}</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n"
    )
    return (
        f"MESSAGE sip:{SERVER}@{DOMAIN} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bKk{number:010d}\r\n"
        f"From: <sip:{device}@{DOMAIN}>;tag={number:09d}\r\nTo: <sip:{SERVER}@{DOMAIN}>\r\nCall-ID: k{number:010d}\r\n"
        f"CSeq: 20 MESSAGE\r\nContent-Type: Application/MANSCDP+xml\r\nMax-Forwards: 70\r\nUser-Agent: IP Camera\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def fleet(port: int, devices: int, keepalives: int, window: int, talk: Connection) -> None:
    """Registers every device, then sends keepalives when told to; tells (done, seconds) after each."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(20.0)
    talk.recv()
    talk.send(_register_all(sock, devices, window))
    talk.recv()
    messages = [keepalive(number, devices) for number in range(keepalives)]
    talk.recv()
    talk.send(_exchange(sock, messages, window))


def _register_all(sock: socket.socket, devices: int, window: int) -> tuple[int, float]:
    begun, sent, done = time.perf_counter(), 0, 0
    try:
        while done < devices:
            while sent < devices and sent - done < window:
                sock.send(register(FIRST + sent, None))
                sent += 1
            data = sock.recv(65_535)
            if data.startswith(b"SIP/2.0 401"):
                nonce, device = NONCE.search(data), DEVICE.search(data)
                if nonce and device:
                    sock.send(register(int(device[1]), nonce[1].decode()))
            elif data.startswith(b"SIP/2.0 200"):
                done += 1
    except TimeoutError:
        pass
    return done, time.perf_counter() - begun


def _exchange(sock: socket.socket, messages: list[bytes], window: int) -> tuple[int, float]:
    begun, sent, done = time.perf_counter(), 0, 0
    try:
        while done < len(messages):
            while sent < len(messages) and sent - done < window:
                sock.send(messages[sent])
                sent += 1
            done += sock.recv(65_535).startswith(b"SIP/2.0 200")
    except TimeoutError:
        pass
    return done, time.perf_counter() - begun


async def provision(store: Store, devices: int) -> None:
    """A project, a credential and the devices."""
    now, project = datetime.now(UTC), "a" * 32  # noqa: TID251  (a bench has no clock to inject)
    user = User(user_id="1" * 32, name="admin", project_id=project, created_at=now)
    await store.accounts.first_start(
        Project(project_id=project, name="default", created_at=now, subscribed_at=None, quotas={}), user, "hash"
    )
    await store.credentials.add(
        Credential(
            username="fleet",
            project_id=project,
            type=CredentialType.NORMAL,
            password=PASSWORD,
            description="",
            created_at=now,
            updated_at=now,
        ),
        quota=10,
    )
    new = NewDevices(project_id=project, type=DeviceType.IPC, credential="fleet", suffix="", description="", at=now)
    for start in range(0, devices, 5000):
        ids = [DeviceId(str(FIRST + number)) for number in range(start, min(start + 5000, devices))]
        await store.devices.add(new, ids, quota=10**9)


async def measure(arguments: argparse.Namespace, folder: str) -> dict[str, float]:
    """Runs the device server in this process against the fleet in another."""
    ours, theirs = multiprocessing.Pipe()
    endpoint = Endpoint([Listen("UDP", "127.0.0.1", 0)])
    policy = DevicePolicy(registrar=RegistrarPolicy(realm=DOMAIN, server_id=SERVER), introduction_delay=86_400.0)
    async with Store.open(f"sqlite:///{folder}/gateway.db", secrets=SecretBox.load(Path(folder) / "key")) as store:
        await provision(store, arguments.devices)
        server = DeviceServer(store=store, endpoint=endpoint, policy=policy, clock=utc_now)
        async with server.open():
            peer = multiprocessing.Process(
                target=fleet,
                args=(endpoint.addresses[0][1].port, arguments.devices, arguments.keepalives, arguments.window, theirs),
            )
            peer.start()
            settle_collector()  # as `gateway serve` does
            before = rss_bytes()
            registered = await phase(ours, arguments.profile and f"{arguments.profile}.register")
            held = rss_bytes() - before
            ours.send("prepare")
            kept = await phase(ours, arguments.profile and f"{arguments.profile}.keepalive")
            peer.join()
            return {
                **{f"register_{name}": value for name, value in registered.items()},
                **{f"keepalive_{name}": value for name, value in kept.items()},
                "devices_online": sum(device.online for device in server.directory),
                "rss_bytes": rss_bytes(),
                "bytes_per_device": round(held / arguments.devices),
            }


async def phase(talk: Connection, profile_file: str | None) -> dict[str, float]:
    """One thing that the fleet does, and what it cost us."""
    profile = cProfile.Profile() if profile_file else None
    cpu, loop_cpu = time.process_time(), time.thread_time()
    talk.send("go")
    if profile:
        profile.enable()
    while not talk.poll():  # noqa: ASYNC110  (the fleet is another process)
        await asyncio.sleep(0.05)
    if profile and profile_file:
        profile.disable()
        profile.dump_stats(profile_file)
    cpu, loop_cpu = time.process_time() - cpu, time.thread_time() - loop_cpu
    done, seconds = talk.recv()
    return {
        "done": done,
        "rate_per_s": round(done / seconds),
        "cpu_us": round(cpu / max(done, 1) * 1e6, 1),
        "loop_cpu_us": round(loop_cpu / max(done, 1) * 1e6, 1),
        "capacity_per_s": round(done / cpu),
    }


def rss_bytes() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=5_000)
    parser.add_argument("--keepalives", type=int, default=100_000)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--profile", default=None)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    os.nice(0)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(uvloop.run(measure(arguments, folder)), indent=2))


if __name__ == "__main__":
    main()
