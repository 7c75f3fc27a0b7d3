"""What the relay costs beside the least it could: ingest against a bare `recvmmsg`, fan-out against a bare `write`.

    python tests/bench/media.py [--streams 100 400] [--viewers 500 1000] [--seconds 10] [--json FILE]

Both sides of a comparison run one after the other on the same core; sender and viewers run on another one. The CPU
is that of the measured process alone, user and system, as the scheduler counted it over the middle of the run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "media/core/target/release/media-bench"
SUBJECT_CORE, OTHER_CORE = 0, 1
SETTLE_S = 2.0
"""Not measured: streams and viewers begin."""
MARGIN_S = 1.0


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


def measured(subject: Program, seconds: int) -> float:
    """Share of a core that `subject` uses in the middle of `seconds`."""
    time.sleep(SETTLE_S)
    before, started = subject.cpu_s(), time.perf_counter()
    time.sleep(seconds - SETTLE_S - MARGIN_S)
    return (subject.cpu_s() - before) / (time.perf_counter() - started)


def ingest(kind: str, streams: int, seconds: int) -> tuple[float, int]:
    """CPU share and packets lost of `count` or `relay` with so many streams."""
    with program(SUBJECT_CORE, kind, streams) as subject:
        ports = subject.say()["ports"]
        with program(OTHER_CORE, "send", seconds, *ports) as sender:
            cpu = measured(subject, seconds)
            sent = sender.say()
        time.sleep(0.5)
        said = subject.end()
    note(f"{kind} {streams}: {cpu:.3f} of a core, {sent} {said}")
    return cpu, sent["sent"] - said["packets"]


def fan_out(kind: str, viewers: int, seconds: int) -> tuple[float, int]:
    """CPU share of `write` or `relay` with so many viewers, and bytes that viewers did not get of what they should."""
    with program(SUBJECT_CORE, kind, viewers if kind == "write" else 1) as subject:
        said = subject.say()
        if kind == "write":
            with program(OTHER_CORE, "view", seconds + 1, said["port"], viewers) as readers:
                readers.say()
                cpu = measured(subject, seconds)
                read = readers.say()
            note(f"{kind} {viewers}: {cpu:.3f} of a core, {read} {subject.end()}")
            return cpu, 0
        with program(OTHER_CORE, "send", seconds + 3, *said["ports"]):
            time.sleep(1)  # a key frame is there when the viewers come
            with program(OTHER_CORE, "view", seconds + 1, said["http"], viewers) as readers:
                readers.say()
                cpu = measured(subject, seconds)
                read = readers.say()
        said = subject.end()
        note(f"{kind} {viewers}: {cpu:.3f} of a core, {read} {said}")
        return cpu, said["lost"]


def compare(what: str, number: int, seconds: int, rounds: int) -> Row:
    """The best of some rounds of each side: other work on the machine only ever adds."""
    run, kinds, goal = {"ingest": (ingest, ("count", "relay"), 1.8), "fan-out": (fan_out, ("write", "relay"), 2.0)}[
        what
    ]
    floor, relay = (min(run(kind, number, seconds) for _ in range(rounds)) for kind in kinds)
    return Row(what, number, floor[0], relay[0], relay[0] / floor[0], goal, floor[1], relay[1])


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    lines = ["| | number | floor | relay | ratio | goal | lost (floor, relay) |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.number} | {row.floor_cpu:.1%} | {row.relay_cpu:.1%} | {row.ratio:.2f} | ≤ {row.goal}"
        f" | {row.floor_lost}, {row.relay_lost} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 400])
    parser.add_argument("--viewers", type=int, nargs="*", default=[500, 1000])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "media-bench.json")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the measured process, one for its peers")
    build = ["cargo", "build", "--release", "--quiet", "-p", "media-core-bench"]
    subprocess.run(build, cwd=ROOT / "media/core", check=True)
    rows = [compare("ingest", number, options.seconds, options.rounds) for number in options.streams]
    rows += [compare("fan-out", number, options.seconds, options.rounds) for number in options.viewers]
    print(table(rows))
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
