"""Becomes the program that its arguments name, which is killed when the one that started it ends, however that ends.

Run as a file of its own: it imports nothing of ours, and is gone when the program begins.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Exits with 1, and says why, if there is no such program."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it could be watched
        sys.exit(1)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    main()
