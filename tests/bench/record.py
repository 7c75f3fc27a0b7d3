"""What recording costs: the relay with streams that nobody watches, and the same with each of them recorded.

    python tests/bench/record.py [--streams 100] [--slice-ms 60000] [--seconds 20] [--directory DIR] [--json FILE]

Both run one after the other on the same core, the sender on another one. The CPU is that of the measured process alone,
user and system, as the scheduler counted it: the kernel's threads that bring pages to the disk are not in it. Files go
to a directory that is emptied afterwards. What the disk could not take shows as frames that are in no file.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.relay import LATE_MS, OTHER_CORE, ROOT, SUBJECT_CORE, note, program


@dataclass(frozen=True)
class Run:
    """One side: share of a core at the nominal rate, and what became of the frames."""

    cpu: float
    packets_lost: int
    late_ms: int
    recorded_bps: float
    slices: int
    frames_lost: int
    queue_bytes_max: int


def run(streams: int, seconds: int, slice_ms: int, directory: Path | None) -> Run:
    kind = ("relay", streams) if directory is None else ("record", streams, slice_ms, directory)
    with program(SUBJECT_CORE, *kind) as subject:
        ports = subject.say()["ports"]
        before = subject.cpu_s()
        with program(OTHER_CORE, "send", seconds, *ports) as sender:
            sent = sender.say()
        time.sleep(0.5)
        used = subject.cpu_s() - before
        said = subject.end()
    note(f"{kind[0]} {streams}: {used:.2f} s of CPU, {sent} {said}")
    return Run(
        cpu=used / said["packets"] * sent["sent"] / seconds,
        packets_lost=sent["sent"] - said["packets"],
        late_ms=sent["latest_ms"],
        recorded_bps=said["recorded_bytes"] * 8 / seconds,
        slices=said["recorded_slices"],
        frames_lost=said["unrecorded_frames"],
        queue_bytes_max=said["queue_bytes_max"],
    )


def recorded(streams: int, seconds: int, slice_ms: int, parent: Path) -> Run:
    directory = Path(tempfile.mkdtemp(dir=parent))
    try:
        return run(streams, seconds, slice_ms, directory)
    finally:
        shutil.rmtree(directory)


def table(streams: int, plain: Run, recording: Run) -> str:
    late = max(plain.late_ms, recording.late_ms)
    return "\n".join(
        [
            "| streams | unrecorded | recorded | a stream | written | files | frames lost | waited at most | note |",
            "|---|---|---|---|---|---|---|---|---|",
            f"| {streams} | {plain.cpu:.1%} | {recording.cpu:.1%} | {(recording.cpu - plain.cpu) / streams:.3%}"
            f" | {recording.recorded_bps / 1e6:.0f} Mbit/s | {recording.slices} | {recording.frames_lost}"
            f" | {recording.queue_bytes_max / 1e6:.1f} MB | {f'sender {late} ms late' if late > LATE_MS else ''} |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--slice-ms", type=int, default=60_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--directory", type=Path, default=ROOT / "tests/.artifacts")
    parser.add_argument("--json", type=Path, default=ROOT / "tests/.artifacts/record-bench.json")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the measured process, one for its peers")
    build = ["cargo", "build", "--release", "--quiet", "-p", "media-core-bench"]
    subprocess.run(build, cwd=ROOT / "media/core", check=True)
    options.directory.mkdir(parents=True, exist_ok=True)
    pairs = [
        (
            run(options.streams, options.seconds, options.slice_ms, None),
            recorded(options.streams, options.seconds, options.slice_ms, options.directory),
        )
        for _ in range(options.rounds)
    ]
    plain = min((pair[0] for pair in pairs), key=lambda each: each.cpu)
    recording = min((pair[1] for pair in pairs), key=lambda each: each.cpu)
    print(table(options.streams, plain, recording))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"streams": options.streams, "unrecorded": asdict(plain), "recorded": asdict(recording)}
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
