"""What sending a stream on as RTP costs, beside a program that sends a stream to each target itself (`sendmmsg`).

    python -m tests.bench senders [--targets 10 50] [--seconds 10] [--rounds 2]

The measured process has one core to itself; its targets, and the camera of the relay, have the other one. The relay's
share contains the receiving of the one stream that it sends on.
"""

import argparse
import subprocess
import time

from tests.bench.relay import OTHER_CORE, ROOT, SUBJECT_CORE, note, program


def floor(targets: int, seconds: int) -> tuple[float, int]:
    """Share of a core, and packets lost, of a program that does nothing but send."""
    with program(OTHER_CORE, "count", targets) as sinks:
        ports = sinks.say()["ports"]
        with program(SUBJECT_CORE, "send", seconds, *ports) as sender:
            time.sleep(seconds - 0.5)
            used = sender.cpu_s() / (seconds - 0.5)
            sent = sender.say()
        time.sleep(0.5)
        got = sinks.end()["packets"]
    note(f"send {targets}: {sent}, {got} arrived")
    return used, sent["sent"] - got


def forwarded(targets: int, seconds: int) -> tuple[float, int]:
    """The same of the relay, with one stream that comes in."""
    with program(OTHER_CORE, "count", targets) as sinks:
        ports = sinks.say()["ports"]
        with program(SUBJECT_CORE, "forward", *ports) as relay:
            own = relay.say()["ports"]
            with program(OTHER_CORE, "send", seconds, *own) as camera:
                time.sleep(0.5)
                before, began = relay.cpu_s(), time.perf_counter()
                late = camera.say()["latest_ms"]
                used = (relay.cpu_s() - before) / (time.perf_counter() - began)
            time.sleep(0.5)
            said = relay.end()
        time.sleep(0.2)
        got = sinks.end()["packets"]
    note(f"forward {targets}: {said}, {got} arrived, camera {late} ms late")
    return used, int(said["packets"]) - got


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, nargs="*", default=[10, 50])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "-p", "media-core-bench"]
    subprocess.run(build, cwd=ROOT / "media/core", check=True)
    print("| targets | floor | relay | ratio | a target | lost (floor, relay) |\n|---|---|---|---|---|---|")
    for targets in options.targets:
        pairs = [(floor(targets, options.seconds), forwarded(targets, options.seconds)) for _ in range(options.rounds)]
        least, ours = (min(pair[side] for pair in pairs) for side in (0, 1))
        print(
            f"| {targets} | {least[0]:.1%} | {ours[0]:.1%} | {ours[0] / least[0]:.2f} | {ours[0] / targets:.3%}"
            f" | {least[1]}, {ours[1]} |"
        )


if __name__ == "__main__":
    main()
