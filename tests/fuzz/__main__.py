"""Runs fuzz targets side by side, as many as there are cores: Python's in this package, Rust's in media/core/fuzz.

`python -m tests.fuzz` gives each 30 s, `--seconds 600 --keep sip_syntax rtsp` two of them ten minutes. Each begins with
the committed seeds alone, so that every run tries the same ground; with `--keep` also with what earlier such runs
found, and what is new is kept in media/core/fuzz/corpus. `--seeds` makes the committed seeds of that: the least set of
inputs that reaches all that the corpus does. A target that fails is stopped, its input printed, and the exit code is 1.
"""

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CORE: Final = ROOT / "media" / "core" / "fuzz"
TARGET: Final = Path(os.environ.get("CARGO_TARGET_DIR", CORE / "target"))
ARTIFACTS: Final = ROOT / "tests" / ".artifacts"
SLACK: Final = 90.0
"""Seconds that a target may take beyond its time: it starts, reads its seeds and ends one slow input (`INPUT_MAX`)."""
INPUT_MAX: Final = 10
"""Seconds for one input; more is a hang."""
MEMORY_MB: Final = 1024
SEED_BYTES_MAX: Final = 8 << 10
SEEDS_MAX: Final = 64 << 10
SEEDS_COUNT_MAX: Final = 60
"""Bytes of one committed seed, of all of a target, and how many are taken beside those with a name."""
SHOWN: Final = 4096
"""Bytes of an input that are printed; the file has all."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a target."""

    name: str
    inputs: int
    coverage: int
    """Edges of the program that were reached; 0 where that is not counted."""
    features: int
    seconds: float
    failure: str
    """What it said, and its input; empty if all is well."""

    def __str__(self) -> str:
        covered = f", {self.coverage} edges, {self.features} features" if self.coverage else ""
        state = "FAILED" if self.failure else "ok"
        return f"{state:6} {self.name}: {self.inputs} inputs in {self.seconds:.0f} s{covered}"


class PythonTarget:
    """A module of this package that mutates inputs and checks what becomes of them."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem

    def run(self, seconds: float, keep: bool) -> Result:
        """Runs it; it keeps a failing input itself and names the file."""
        del keep  # it makes its inputs of the vectors and a seed
        command = [sys.executable, "-m", f"tests.fuzz.{self.name}", "--seconds", str(seconds)]
        code, said, took = _run(command, seconds, ROOT)
        found = re.search(r": (\d+) inputs", said)
        kept = re.search(r"^failed: (.+)$", said, re.MULTILINE)
        failure = "" if code == 0 else _told(said, [Path(kept[1])] if kept else [])
        return Result(self.name, int(found[1]) if found else 0, 0, 0, took, failure)


class RustTarget:
    """A program of media/core/fuzz, made for libFuzzer."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.seeds = CORE / "seeds" / self.name
        self.corpus = CORE / "corpus" / self.name

    def run(self, seconds: float, keep: bool) -> Result:
        """Runs it; a failing input is kept under tests/.artifacts."""
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{self.name}-") as temporary:
            failed = Path(temporary) / "failed"
            new = self.corpus if keep else Path(temporary) / "corpus"
            for folder in (failed, new):
                folder.mkdir(parents=True, exist_ok=True)
            code, said, took = _run(
                [
                    *(str(self._program()), f"-max_total_time={seconds:.0f}", "-print_final_stats=1"),
                    *(f"-timeout={INPUT_MAX}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={failed}/"),
                    *(str(new), *self._committed()),
                ],
                seconds,
                CORE,
            )
            failure = "" if code == 0 else _told(said, self._kept(failed))
        reached = re.findall(r"cov: (\d+) ft: (\d+)", said) or [("0", "0")]
        inputs = re.search(r"number_of_executed_units:\s*(\d+)", said)
        return Result(self.name, int(inputs[1]) if inputs else 0, *map(int, reached[-1]), took, failure)

    def make_seeds(self) -> str:
        """Replaces the committed seeds by the least set that reaches what they and the corpus do.

        Seeds that people named stay as they are: they say what a target is about. Of the found ones the
        smallest are taken.
        """
        named = [path for path in self._inputs() if not re.fullmatch(r"[0-9a-f]{40}", path.name)]
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{self.name}-") as temporary:
            merged = Path(temporary) / "merged"
            merged.mkdir()
            for path in named:
                shutil.copy(path, merged)
            self.corpus.mkdir(parents=True, exist_ok=True)
            folders = [str(merged), *self._committed(), str(self.corpus)]
            subprocess.run(
                [str(self._program()), "-set_cover_merge=1", f"-max_len={SEED_BYTES_MAX}", *folders],
                check=True,
                capture_output=True,
                timeout=600,
            )
            new = sorted(set(merged.iterdir()) - {merged / path.name for path in named}, key=_size)
            self.seeds.mkdir(parents=True, exist_ok=True)
            for path in set(self._inputs()) - set(named):
                path.unlink()
            left = SEEDS_MAX - sum(map(_size, named))
            taken = 0
            for path in new[:SEEDS_COUNT_MAX]:
                left -= _size(path)
                if left < 0:
                    break
                shutil.copy(path, self.seeds / path.name)
                taken += 1
        return f"{self.name}: {len(named)} named seeds, {taken} of {len(new)} found ones"

    def _program(self) -> Path:
        (path,) = TARGET.glob(f"*/release/{self.name}")
        return path

    def _inputs(self) -> list[Path]:
        return sorted(self.seeds.iterdir()) if self.seeds.is_dir() else []

    def _committed(self) -> list[str]:
        return [str(self.seeds)] if self.seeds.is_dir() else []

    def _kept(self, failed: Path) -> list[Path]:
        ARTIFACTS.mkdir(exist_ok=True)
        return [Path(shutil.copy(path, ARTIFACTS / f"fuzz-{self.name}-{path.name}")) for path in failed.iterdir()]


def _size(path: Path) -> int:
    return path.stat().st_size


def _run(command: list[str], seconds: float, folder: Path) -> tuple[int, str, float]:
    """Exit code, what it said, and how long it took; 124 if it did not end by itself."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + SLACK,
            check=False,
        )
        code, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, said = 124, (late.stdout or b"") + b"\nit did not end\n"
    return code, said.decode("utf-8", "replace"), time.perf_counter() - began


def _told(said: str, inputs: Iterable[Path]) -> str:
    """The end of what a target said, and its failing inputs as base64, so that a log is enough to repeat it."""
    lines = said.splitlines()[-40:]
    for path in inputs:
        data = path.read_bytes()
        lines.append(f"{path} ({len(data)} bytes): {base64.b64encode(data[:SHOWN]).decode()}")
    return "\n".join(lines)


def targets(names: list[str]) -> tuple[list[PythonTarget], list[RustTarget]]:
    """All targets, or those that are named; SystemExit for an unknown name."""
    python = [PythonTarget(path) for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))]
    rust = [RustTarget(path) for path in sorted((CORE / "targets").glob("*.rs"))]
    unknown = set(names) - {target.name for target in (*python, *rust)}
    if unknown:
        sys.exit(f"no such target: {', '.join(sorted(unknown))}")
    if names:
        python = [target for target in python if target.name in names]
        rust = [target for target in rust if target.name in names]
    return python, rust


def build() -> None:
    """Builds Rust's targets, with the flags of media/core/fuzz/.cargo/config.toml and no others."""
    changed = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_", "MAKEFLAGS", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(changed)}
    began = time.perf_counter()
    subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=CORE, env=environment, check=True)
    print(f"built in {time.perf_counter() - began:.0f} s", flush=True)


def main() -> int:
    """The exit code: 1 if a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="all if none is named")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", action="store_true", help="begin with the kept corpus, and keep what is new")
    parser.add_argument("--only-build", action="store_true", help="build the targets, run none")
    parser.add_argument("--seeds", action="store_true", help="make the committed seeds of the kept corpus")
    options = parser.parse_args()
    python, rust = targets(options.targets)
    if rust:
        build()
    if options.only_build:
        return 0
    with ThreadPoolExecutor(options.jobs) as pool:
        if options.seeds:
            for line in pool.map(RustTarget.make_seeds, rust):
                print(line, flush=True)
            return 0
        failed = []
        for result in pool.map(lambda target: target.run(options.seconds, options.keep), [*python, *rust]):
            print(result, flush=True)
            if result.failure:
                failed.append(result)
    for result in failed:
        print(f"\n--- {result.name}\n{result.failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
