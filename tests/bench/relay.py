"""What the relay costs beside the least it could: ingest against a bare `recvmmsg` (packets one by one, and in runs
that the system joined) or `read`, fan-out against a bare `write` (one a frame, and one for 300 ms), every stream
watched once against both floors together; RTMP players beside as many HTTP-FLV viewers, which are the floor there;
memory; joining.

    python tests/bench/relay.py [--rows ingest tcp …] [--streams 200 800] [--viewers 500 1000] [--seconds 10]

`--rows` names the rows that are wanted; a row is left out by giving it no number, too (`--viewers --players`).

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "media/core/target/release/media-bench"
SUBJECT_CORE, OTHER_CORE = 0, 1
STREAM_BPS = 4_000_000
KEY_FRAME_BYTES = 100_000
GOP_BYTES = STREAM_BPS // 8 * 2
MEMORY_GOAL_MB = 0.3
MERGED_FRAMES = 8
"""What 25 pictures a second bring in 300 ms, in whole pictures."""
WARM_S = 4
"""Two GOPs: from then on each new one takes the memory of one that went."""
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
    met: bool
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

    def memory(self, name: str) -> int:
        """A figure of its status, in bytes."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


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


def ingest(kind: str, streams: int, seconds: int, how: str = "send-offload") -> Run:
    """`count…` or `relay…` with so many streams that come by `how`. The sender always joins a frame's packets, which is
    what lets it keep up with 800 streams; a receiver that does not take them whole gets them one by one."""
    with program(SUBJECT_CORE, kind, streams) as subject:
        ports = subject.say()["ports"]
        began = time.perf_counter()
        with program(OTHER_CORE, how, WARM_S + seconds, *ports) as sender:
            time.sleep(WARM_S)
            before, warm = subject.cpu_s(), time.perf_counter()
            sent = sender.say()
        used, ended = subject.cpu_s() - before, time.perf_counter()
        time.sleep(0.5)
        said = subject.end()
    packets = said.get("packets", sent["sent"])  # who reads a connection counts none, and loses none
    each = used / (packets * (ended - warm) / (ended - began))
    cpu = each * sent["sent"] / (WARM_S + seconds)
    note(f"{kind} {streams}: {each * 1e6:.2f} µs a packet, {sent} {said}")
    return Run(cpu, sent["sent"] - packets, sent["latest_ms"])


def ingest_tcp(kind: str, streams: int, seconds: int) -> Run:
    return ingest(kind, streams, seconds, "send-tcp")


def watched(kind: str, streams: int, seconds: int) -> Run:
    """Every stream with one viewer: `relay`, or `floors`, which are those of ingest and fan-out together."""
    if kind == "floors":
        one, other = ingest("count", streams, seconds, "send"), fan_out("write", streams, seconds)
        return Run(one.cpu + other.cpu, one.lost + other.lost, max(one.late_ms, other.late_ms))
    with program(SUBJECT_CORE, "relay", streams) as subject:
        said = subject.say()
        with program(OTHER_CORE, "send", WARM_S + seconds + 3, *said["ports"]) as sender:
            time.sleep(WARM_S)
            with program(OTHER_CORE, "view-each", seconds, said["http"], streams) as readers:
                readers.say()
                before = subject.cpu_s()
                read = readers.say()
                used = subject.cpu_s() - before
            sent = sender.say()
        said = subject.end()
    note(f"watched {streams}: {read} {sent} {said}")
    return Run(used / read["bytes"] * streams * STREAM_BPS / 8, said["lost"], sent["latest_ms"])


@dataclass(frozen=True)
class Figure:
    """What has a goal of its own and no floor."""

    what: str
    value: str
    goal: str
    met: bool
    note: str = ""


def sustained(streams: int, seconds: int) -> list[Figure]:
    """Whether one core takes so many streams, each packet on its own and in runs, unwatched and with their GOPs ready:
    nothing lost, and the sender never held back."""
    figures = []
    for what, kind in (("one by one", "relay-single"), ("in runs", "relay")):
        run = ingest(kind, streams, seconds)
        late = f"sender {run.late_ms} ms late" if run.late_ms > LATE_MS else ""
        value = f"{run.cpu:.1%} of the core, {run.lost} packets lost"
        met = not run.lost and not late and run.cpu < 1
        figures.append(Figure(f"{streams} streams sustained, packets {what}", value, "none lost", met, late))
    return figures


def memory(streams: int) -> Figure:
    """Megabytes a stream: the most that the process took above what it took before the first stream sent, and of it
    what is above its GOP."""
    with program(SUBJECT_CORE, "relay", streams) as subject:
        ports = subject.say()["ports"]
        before = subject.memory("VmRSS")
        with program(OTHER_CORE, "send", 9, *ports) as sender:
            sender.say()
        each = (subject.memory("VmHWM") - before) / streams
        subject.end()
    above = (each - GOP_BYTES) / 1e6
    value = f"{each / 1e6:.2f} MB, {above:.2f} MB above its GOP"
    return Figure(f"memory a stream, {streams} streams", value, f"≤ {MEMORY_GOAL_MB} MB above", above <= MEMORY_GOAL_MB)


def fan_out(kind: str, viewers: int, seconds: int) -> Run:
    """`write…` or `relay…` with so many viewers, or `rtmp`: `relay` with players."""
    arguments, port_name, reader = {
        "write": (("write", viewers), "port", "view"),
        "relay": (("relay", 1), "http", "view"),
        "write-merged": (("write-merged", viewers, MERGED_FRAMES), "port", "view"),
        "relay-merged": (("relay-merged", 1, 300), "http", "view"),
        "rtmp": (("relay", 1), "rtmp", "play"),
    }[kind]
    is_floor = kind.startswith("write")
    with program(SUBJECT_CORE, *arguments) as subject, ExitStack() as stack:
        said = subject.say()
        sender = None
        if not is_floor:
            sender = stack.enter_context(program(OTHER_CORE, "send", seconds + 5, *said["ports"]))
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


def joining(joins: int, streams: int) -> Figure:
    """Milliseconds from connecting to holding the first key frame whole, of viewers that come one after the other while
    so many streams come in."""
    with program(SUBJECT_CORE, "relay", streams) as subject:
        said = subject.say()
        with program(OTHER_CORE, "send", 3 + joins // 20, *said["ports"]):
            time.sleep(1)
            times = sorted(join(said["http"]) for _ in range(joins))
    middle, most = times[len(times) // 2], times[len(times) * 95 // 100]
    value = f"median {middle:.1f} ms, 95 % within {most:.1f} ms"
    return Figure(f"joining, {streams} streams", value, "≤ 1 ms, ≤ 5 ms", middle <= 1 and most <= 5)


def join(port: int) -> float:
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as viewer:
        viewer.sendall(b"GET /bench/1.live.flv HTTP/1.1\r\nHost: bench\r\n\r\n")
        wanted = KEY_FRAME_BYTES
        while wanted > 0:
            wanted -= len(viewer.recv(1 << 16)) or sys.exit("the relay hung up")
    return (time.perf_counter() - began) * 1000


@dataclass(frozen=True)
class Comparison:
    """What runs for a row: `run` with the floor's kind, and with the relay's."""

    what: str
    number: str
    """The option that says with how many."""
    run: Callable[[str, int, int], Run]
    kinds: tuple[str, str]
    goal: float


COMPARISONS = {
    "ingest": Comparison("ingest", "streams", ingest, ("count", "relay-single"), 1.4),
    "runs": Comparison("ingest, in runs", "streams", ingest, ("count-offload", "relay"), 1.4),
    "tcp": Comparison("ingest, TCP", "streams", ingest_tcp, ("count-tcp", "relay-tcp"), 2.0),
    "watched": Comparison("each watched once", "watched", watched, ("floors", "relay"), 1.5),
    "fan-out": Comparison("fan-out", "viewers", fan_out, ("write", "relay"), 1.2),
    "merged": Comparison("fan-out, 300 ms together", "viewers", fan_out, ("write-merged", "relay-merged"), 1.2),
    "rtmp": Comparison("RTMP", "players", fan_out, ("relay", "rtmp"), 1.2),
}
ROWS = [*COMPARISONS, "sustained", "memory", "joining"]


def compare(name: str, number: int, seconds: int, rounds: int) -> Row:
    """The best of some rounds of each side, in turns: other work on the machine only ever adds."""
    row = COMPARISONS[name]
    results = [[row.run(kind, number, seconds) for kind in row.kinds] for _ in range(rounds)]
    floor, relay = (min((pair[side] for pair in results), key=lambda each: each.cpu) for side in (0, 1))
    late = max(floor.late_ms, relay.late_ms)
    ratio = relay.cpu / floor.cpu
    met = ratio <= row.goal and not relay.lost
    return Row(row.what, number, floor.cpu, relay.cpu, ratio, row.goal, met, floor.lost, relay.lost, late)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| | number | floor | relay | ratio | goal | verdict | lost (floor, relay) | note |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.number} | {row.floor_cpu:.1%} | {row.relay_cpu:.1%} | {row.ratio:.2f} | ≤ {row.goal}"
        f" | {verdict(row.met)} | {row.floor_lost}, {row.relay_lost}"
        f" | {f'sender {row.late_ms} ms late' if row.late_ms > LATE_MS else ''} |"
        for row in rows
    ]
    return "\n".join(lines)


def figure_table(figures: Sequence[Figure]) -> str:
    lines = ["| | figure | goal | verdict | note |", "|---|---|---|---|---|"]
    lines += [
        f"| {figure.what} | {figure.value} | {figure.goal} | {verdict(figure.met)} | {figure.note} |"
        for figure in figures
    ]
    return "\n".join(lines)


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--streams", type=int, nargs="*", default=[200, 800])
    parser.add_argument("--viewers", type=int, nargs="*", default=[500, 1000])
    parser.add_argument("--players", type=int, nargs="*", default=[200])
    parser.add_argument("--watched", type=int, nargs="*", default=[100])
    parser.add_argument("--sustained", type=int, default=800)
    parser.add_argument("--joins", type=int, default=200)
    parser.add_argument("--join-streams", type=int, default=100)
    parser.add_argument("--memory-streams", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "tests/.artifacts/media-bench.json")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the measured process, one for its peers")
    build = ["cargo", "build", "--release", "--quiet", "-p", "media-core-bench"]
    subprocess.run(build, cwd=ROOT / "media/core", check=True)
    numbers = {
        "streams": options.streams,
        "watched": options.watched,
        "viewers": options.viewers,
        "players": options.players,
    }
    rows = [
        compare(name, number, options.seconds, options.rounds)
        for name in options.rows
        if name in COMPARISONS
        for number in numbers[COMPARISONS[name].number]
    ]
    if rows:
        print(table(rows))
    figures: list[Figure] = []
    if "sustained" in options.rows and options.sustained:
        figures += sustained(options.sustained, options.seconds)
    if "memory" in options.rows and options.memory_streams:
        figures.append(memory(options.memory_streams))
    if "joining" in options.rows and options.joins:
        figures.append(joining(options.joins, options.join_streams))
    if figures:
        print("\n" + figure_table(figures))
    result = {"comparisons": [asdict(row) for row in rows], "figures": [asdict(figure) for figure in figures]}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
