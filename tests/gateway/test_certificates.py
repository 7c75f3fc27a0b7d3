"""Certificates that end, in files made on the spot."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from gateway.certificates import Certificates
from gateway.media_settings import Tls
from tests.media.pem import write_pair

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("days", "word"), [(90, None), (13, "ends soon"), (0, "has expired"), (-30, "has expired")])
def test_people_are_warned_in_time(tmp_path: Path, days: int, word: str | None) -> None:
    certificate, key = write_pair(tmp_path, ends=NOW + timedelta(days=days))
    follower = Certificates(Tls(certificate=certificate, key=key, https_port=8443), lambda: NOW)
    with structlog.testing.capture_logs() as lines:
        follower.look()
    assert follower.figures() == {"gateway_tls_certificate_ends_seconds": (NOW + timedelta(days=days)).timestamp()}
    said = [line["event"] for line in lines]
    assert (not said) if word is None else (len(said) == 1 and word in said[0])


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing of the kind")
    follower = Certificates(
        Tls(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem", rtsps_port=322), lambda: NOW
    )
    with structlog.testing.capture_logs() as lines:
        follower.look()
    assert [line["path"] for line in lines] == [str(tmp_path / "cert.pem")]


def test_without_tls_nothing_is_read() -> None:
    follower = Certificates(Tls(certificate=Path("/nowhere")), lambda: NOW)
    with structlog.testing.capture_logs() as lines:
        follower.look()
    assert (lines, follower.figures()) == ([], {"gateway_tls_certificate_ends_seconds": 0.0})
