"""How packets of RTSP travel is chosen in the address, reaches the relay, and is shown."""

from typing import Any

import pytest

from gateway.streams.carriage import shown_transport, transport_of, wrong_transport
from gateway.streams.errors import UrlError
from gateway.streams.inputs import BackupType, Input
from gateway.streams.model import AccessType
from gateway.streams.pull_inputs import PullInputs
from gateway.streams.rules import checked_url
from tests.gateway.streams.notes import NotingRelay
from tests.gateway.streams.samples import NOW, stream

CAMERA = "rtsp://me:secret@camera.example/1?a=b"


class NoHistory:
    def put(self, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        (CAMERA, "tcp"),
        (f"{CAMERA}#transport=tcp", "tcp"),
        (f"{CAMERA}#transport=udp", "udp"),
        (f"{CAMERA}#Transport=UDP", "udp"),
        (f"{CAMERA}&transport=udp", "tcp"),
        ("http://camera.example/live#begin", "tcp"),
    ],
)
def test_the_fragment_says_it(url: str, transport: str) -> None:
    assert checked_url(url, allow_private=False) == url
    assert transport_of(url) == transport
    assert shown_transport(url) == ("#transport=udp" if transport == "udp" else "")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (f"{CAMERA}#transport=multicast", "tcp or udp"),
        ("rtsps://camera.example/1#transport=udp", "in the clear"),
        ("http://camera.example/1#transport=udp", "rtsp:// alone"),
    ],
)
def test_what_cannot_be_is_refused(url: str, wrong: str) -> None:
    assert wrong in (wrong_transport(url) or "")
    with pytest.raises(UrlError, match=wrong):
        checked_url(url, allow_private=False)


def test_a_url_that_cannot_be_is_told_what_can() -> None:
    with pytest.raises(UrlError, match=r"rtsp://.*udp://.*ffmpeg\.protocols"):
        checked_url("srt://camera.example:9000", allow_private=False)
    with pytest.raises(UrlError, match=r"srt://.*ffmpeg\+ before one of srt"):
        checked_url("ftp://camera.example/1", allow_private=False, protocols=["srt"])


async def test_inputs_stand_by_and_take_over_as_their_addresses_say() -> None:
    relay = NotingRelay()
    inputs = PullInputs(relay, NoHistory(), lambda: NOW)  # type: ignore[arg-type]
    record = stream(access_type=AccessType.HTTP_FLV, url=CAMERA)
    standing, needed = f"{CAMERA}&n=2#transport=udp", f"{CAMERA}&n=3#transport=udp"
    inputs.begin(record, 7, [Input(2, standing, BackupType.ACTIVE), Input(3, needed, BackupType.PASSIVE)])
    assert relay.transports == {standing: "udp"}
    inputs.choose(7, 3)
    assert relay.transports[needed] == "udp"
    inputs.forget(7)
