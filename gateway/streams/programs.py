"""Sources that a program of its own fetches: ffmpeg, for the protocols that the operator allows. Pure."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

FORCED: Final = "ffmpeg+"
"""Before a scheme that we fetch ourselves too: let the program do it."""
LAUNCHER: Final = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class Programs:
    """Which protocols are left to ffmpeg, and how it is called."""

    path: str = "ffmpeg"
    protocols: frozenset[str] = frozenset()
    """Schemes; empty: no program is ever run."""
    arguments: Sequence[str] = ()
    """Before the input."""

    def fetches(self, url: str) -> bool:
        """Whether the program fetches this URL."""
        return urlsplit(url).scheme.removeprefix(FORCED) in self.protocols and (
            url.startswith(FORCED) or urlsplit(url).scheme not in NATIVE
        )

    def command(self, url: str) -> tuple[str, ...]:
        """The program and its arguments, each as it is: no shell reads them; empty if it does not fetch this URL.

        Pictures are passed through, sound becomes AAC. What the URL leads to may only use protocols that are allowed.
        A launcher stands before it, so that it does not outlive us however we end.
        """
        if not self.fetches(url):
            return ()
        allowed = sorted(self.protocols | TRANSPORTS)
        return (
            *(sys.executable, "-I", "-S", str(LAUNCHER)),
            *(self.path, "-nostdin", "-hide_banner", "-loglevel", "warning"),
            *("-protocol_whitelist", ",".join(allowed)),
            *self.arguments,
            *("-i", url.removeprefix(FORCED)),
            *("-map", "0:v:0?", "-map", "0:a:0?", "-dn", "-sn", "-c:v", "copy", "-c:a", "aac"),
            *("-f", "mpegts", "-flush_packets", "1", "pipe:1"),
        )


NATIVE: Final = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "udp"})
"""What the relay fetches itself."""
TRANSPORTS: Final = frozenset({"tcp", "udp", "tls", "rtp", "pipe"})
"""What the protocols themselves need."""
