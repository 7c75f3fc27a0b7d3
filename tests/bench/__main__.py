"""Runs every benchmark of this directory, one after the other: `python -m tests.bench [NAME …]`."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HOURS = {"soak"}
"""Only run when named."""


def main() -> int:
    found = {path.stem: path for path in sorted(HERE.glob("*.py")) if not path.stem.startswith("_")}
    wanted = sys.argv[1:] or [name for name in found if name not in HOURS]
    failed = []
    for name in wanted:
        print(f"\n## {name}\n", flush=True)
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        command = [sys.executable, str(found[name])]
        if subprocess.run(command, cwd=HERE.parents[1], env=environment, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
