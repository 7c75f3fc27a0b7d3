"""What the relay costs beside the least it could: ingest against a bare `recvmmsg`, fan-out against a bare `write`; and
RTMP players beside as many HTTP-FLV viewers, which are the floor there.

    python tests/bench/relay.py [--streams 100 400] [--viewers 500 1000] [--players 200] [--seconds 10] [--json FILE]

Both sides of a comparison run one after the other on the same core; sender and viewers run on another one. The CPU
is that of the measured process alone, user and system, as the scheduler counted it, for what it got done: where other
work on the machine holds the sender back, the same packets come later and cost the same. What is shown is the share of
one core that the nominal rate takes.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "media/core/target/release/media-bench"
SUBJECT_CORE, OTHER_CORE = 0, 1
STREAM_BPS = 4_000_000
KEY_FRAME_BYTES = 100_000
LATE_MS = 500
"""A sender later than this had no core to itself; the row says so."""


@dataclass(frozen=True)
class Row:
    """One comparison. CPU as the share of one core."""

    what: str
    number: int
    floor_cpu: float
    relay_cpu: float
    ratio: float
    goal: float
    floor_lost: int
    relay_lost: int
    late_ms: int


class Program:
    """A `media-bench` process on one core; says lines of JSON."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def say(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"media-bench ended early: {self._process.args!r}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> dict[str, Any]:
        """Its last line, after it was told to stop."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.say()

    def cpu_s(self) -> float:
        """Seconds that its threads have run."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def program(core: int, *arguments: object) -> Iterator[Program]:
    command = ["taskset", "-c", str(core), str(BENCH), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


@dataclass(frozen=True)
class Run:
    """One side: share of a core at the nominal rate, what was lost, how late the sender was."""

    cpu: float
    lost: int
    late_ms: int


def ingest(kind: str, streams: int, seconds: int) -> Run:
    """`count` or `relay` with so many streams."""
    with program(SUBJECT_CORE, kind, streams) as subject:
        ports = subject.say()["ports"]
        before = subject.cpu_s()
        with program(OTHER_CORE, "send", seconds, *ports) as sender:
            sent = sender.say()
        time.sleep(0.5)
        used = subject.cpu_s() - before
        said = subject.end()
    cpu = used / said["packets"] * sent["sent"] / seconds
    note(f"{kind} {streams}: {used / said['packets'] * 1e6:.2f} µs a packet, {sent} {said}")
    return Run(cpu, sent["sent"] - said["packets"], sent["latest_ms"])


def fan_out(kind: str, viewers: int, seconds: int) -> Run:
    """`write` or `relay` with so many viewers, or `rtmp`: `relay` with players."""
    program_name, port_name, reader = {
        "write": ("write", "port", "view"),
        "relay": ("relay", "http", "view"),
        "rtmp": ("relay", "rtmp", "play"),
    }[kind]
    with program(SUBJECT_CORE, program_name, viewers if kind == "write" else 1) as subject, ExitStack() as stack:
        said = subject.say()
        sender = None
        if kind != "write":
            sender = stack.enter_context(program(OTHER_CORE, "send", seconds + 3, *said["ports"]))
            time.sleep(1)  # a key frame is there when the viewers come
        with program(OTHER_CORE, reader, seconds, said[port_name], viewers) as readers:
            readers.say()
            before = subject.cpu_s()
            read = readers.say()
            used = subject.cpu_s() - before
        late = sender.say()["latest_ms"] if sender else 0
        said = subject.end()
    cpu = used / read["bytes"] * viewers * STREAM_BPS / 8
    note(f"{kind} {viewers}: {used / read['bytes'] * 1e9:.3f} s a GB, {read} {said}, late {late} ms")
    return Run(cpu, said.get("lost", 0), late)


def joining(joins: int) -> list[float]:
    """Milliseconds from connecting to holding the first key frame whole, of viewers that come one after the other."""
    with program(SUBJECT_CORE, "relay", 1) as subject:
        said = subject.say()
        with program(OTHER_CORE, "send", 3 + joins // 20, *said["ports"]):
            time.sleep(1)
            return sorted(join(said["http"]) for _ in range(joins))


def join(port: int) -> float:
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as viewer:
        viewer.sendall(b"GET /bench/1.live.flv HTTP/1.1\r\nHost: bench\r\n\r\n")
        wanted = KEY_FRAME_BYTES
        while wanted > 0:
            wanted -= len(viewer.recv(1 << 16)) or sys.exit("the relay hung up")
    return (time.perf_counter() - began) * 1000


def compare(what: str, number: int, seconds: int, rounds: int) -> Row:
    """The best of some rounds of each side, in turns: other work on the machine only ever adds."""
    run, kinds, goal = {
        "ingest": (ingest, ("count", "relay"), 1.8),
        "fan-out": (fan_out, ("write", "relay"), 2.0),
        "RTMP": (fan_out, ("relay", "rtmp"), 1.2),
    }[what]
    results = [[run(kind, number, seconds) for kind in kinds] for _ in range(rounds)]
    floor, relay = (min((pair[side] for pair in results), key=lambda each: each.cpu) for side in (0, 1))
    late = max(floor.late_ms, relay.late_ms)
    return Row(what, number, floor.cpu, relay.cpu, relay.cpu / floor.cpu, goal, floor.lost, relay.lost, late)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| | number | floor | relay | ratio | goal | lost (floor, relay) | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.number} | {row.floor_cpu:.1%} | {row.relay_cpu:.1%} | {row.ratio:.2f} | ≤ {row.goal}"
        f" | {row.floor_lost}, {row.relay_lost} | {f'sender {row.late_ms} ms late' if row.late_ms > LATE_MS else ''} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 400])
    parser.add_argument("--viewers", type=int, nargs="*", default=[500, 1000])
    parser.add_argument("--players", type=int, nargs="*", default=[200])
    parser.add_argument("--joins", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "tests/.artifacts/media-bench.json")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the measured process, one for its peers")
    build = ["cargo", "build", "--release", "--quiet", "-p", "media-core-bench"]
    subprocess.run(build, cwd=ROOT / "media/core", check=True)
    rows = [compare("ingest", number, options.seconds, options.rounds) for number in options.streams]
    rows += [compare("fan-out", number, options.seconds, options.rounds) for number in options.viewers]
    rows += [compare("RTMP", number, options.seconds, options.rounds) for number in options.players]
    print(table(rows))
    joins = joining(options.joins)
    middle, most = joins[len(joins) // 2], joins[len(joins) * 99 // 100]
    print(f"\njoining a running stream: median {middle:.1f} ms, 99 % within {most:.1f} ms (goal: median ≤ 20 ms)")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"comparisons": [asdict(row) for row in rows], "join_median_ms": middle, "join_p99_ms": most}
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
