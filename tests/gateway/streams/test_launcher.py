"""Programs that fetch streams end with the gateway, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.streams.programs import LAUNCHER

GATEWAY = """
import asyncio, sys
from media.relay import Relay
async def main():
    async with Relay(play_key=b"key", rtp_host="127.0.0.1", rtp_port_min=24700, rtp_port_max=24719, threads=1) as relay:
        relay.open_pull("test", "made", "srt://h:9000", command=sys.argv[1:])
        await asyncio.sleep(60)
asyncio.run(main())
"""
"""As much of the gateway as runs a program: the relay, whose threads start it."""


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is still listed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # also between opening and reading
        return False


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    due = time.perf_counter() + seconds
    while not what():
        assert time.perf_counter() < due
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_dies_with_the_gateway_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "pid"
    program = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"
    command = [sys.executable, "-I", "-S", str(LAUNCHER), sys.executable, "-c", program]
    gateway = subprocess.Popen([sys.executable, "-c", GATEWAY, *command])
    pid = 0
    try:
        until(lambda: note.exists() and note.read_text() != "")
        pid = int(note.read_text())
        assert lives(pid)
        gateway.send_signal(how)
        gateway.wait(10)
        until(lambda: not lives(pid))
    finally:
        gateway.kill()
        gateway.wait(10)
        if pid and lives(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = subprocess.run([sys.executable, "-I", "-S", LAUNCHER, missing], capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().strip() == f"cannot run {missing}: No such file or directory"
