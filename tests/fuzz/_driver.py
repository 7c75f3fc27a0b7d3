"""The command line of a fuzz target: for how long, from which seed, and where an input that failed is kept."""

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

ARTIFACTS = Path(__file__).parents[1] / ".artifacts"

Run = Callable[[float, int, Callable[[], float]], tuple[int, bytes | None]]
"""Runs for so many seconds, from a seed, by a clock; gives how many inputs it tried, and the one that failed."""


def main(name: str, run: Run, description: str | None) -> int:
    """The exit code: 1 if an input failed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    count, failing = run(options.seconds, options.seed, time.perf_counter)
    print(f"{name}: {count} inputs, seed {options.seed}")
    if failing is None:
        return 0
    kept = ARTIFACTS / f"fuzz-{name}-{options.seed}.bin"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(failing)
    print(f"failed: {kept}")
    return 1
