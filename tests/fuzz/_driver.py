"""What the targets of this package share: the loop, and a command line that says for how long, from which seed, and
where an input that failed is kept."""

import argparse
import random
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ARTIFACTS: Final = Path(__file__).parents[1] / ".artifacts"
SLOW_S: Final = 0.5
"""Of processor time, so that a busy machine is no finding; inputs are small, and more means a super-linear reader."""

Check = Callable[[random.Random, bytes], None]
"""Tries one input; whatever it raises is a finding."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed: how an input is made, and what must hold for it."""

    name: str
    make: Callable[[random.Random], bytes]
    checks: Sequence[Check]

    def run(self, seconds: float, seed: int) -> tuple[int, bytes | None]:
        """Fuzzes for that long; the number of inputs, and the one that failed."""
        rng = random.Random(seed)
        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            data = self.make(rng)
            count += 1
            began = time.process_time()
            try:
                for check in self.checks:
                    check(rng, data)
                took = time.process_time() - began
                assert took < SLOW_S, f"took {took:.2f} s"
            except Exception:  # noqa: BLE001 RUF100 - any exception is a finding
                traceback.print_exc()
                return count, data
        return count, None


def with_words(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """The input with up to three of these words put in somewhere."""
    buffer = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(buffer) + 1)
        buffer[at:at] = rng.choice(words)
    return bytes(buffer)


def main(target: Target, description: str | None) -> int:
    """The exit code: 1 if an input failed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    count, failing = target.run(options.seconds, options.seed)
    print(f"{target.name}: {count} inputs, seed {options.seed}")
    if failing is None:
        return 0
    kept = ARTIFACTS / f"fuzz-{target.name}-{options.seed}.bin"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(failing)
    print(f"failed: {kept}")
    return 1
