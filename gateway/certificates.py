"""How long the TLS certificate is good: people are warned in time, and told of renewals. The relay serves it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from gateway.media_event import MediaEvent
from gateway.media_settings import Tls

log = structlog.get_logger(__name__)

WARN_BEFORE: Final = timedelta(days=14)
"""A certificate that ends sooner should have been renewed."""
_LOOK: Final = 86_400.0
"""Seconds between two looks."""


class Certificates:
    """Follows the certificate of the TLS ports; without one it has nothing to do."""

    def __init__(self, tls: Tls, clock: Callable[[], datetime]) -> None:
        self._path = tls.certificate if tls.https_port or tls.rtsps_port or tls.rtmps_port else None
        self._clock = clock
        self._ends: datetime | None = None

    async def run(self) -> None:
        """Looks once a day."""
        while self._path is not None:
            self.look()
            await asyncio.sleep(_LOOK)

    def look(self) -> None:
        """Reads when the certificate ends, and warns if that is soon or was."""
        if self._path is None:
            return
        try:
            self._ends = ends(self._path)
        except (OSError, ValueError) as error:
            log.warning("the TLS certificate cannot be read", path=str(self._path), reason=str(error))
            return
        left = self._ends - self._clock()
        if left <= timedelta(0):
            log.warning("the TLS certificate has expired: clients refuse it", path=str(self._path), since=self._ends)
        elif left < WARN_BEFORE:
            log.warning("the TLS certificate ends soon", path=str(self._path), ends=self._ends)

    def handle_media(self, event: MediaEvent) -> None:
        """Tells of changes that the relay found."""
        if event.kind != "certificate":
            return
        detail = event.detail
        if detail["outcome"] == "renewed":
            log.info("the TLS certificate was read again", path=detail["path"])
            self.look()
        else:
            log.warning("the new TLS certificate cannot be used: the old one stays", reason=detail["reason"])

    def figures(self) -> dict[str, float]:
        """For `/metrics`: when it ends, in seconds of the UNIX epoch; 0 without one."""
        return {"gateway_tls_certificate_ends_seconds": self._ends.timestamp() if self._ends else 0.0}


def ends(path: Path) -> datetime:
    """When the first certificate of a PEM file ends. ValueError if there is none, OSError if it cannot be read."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
