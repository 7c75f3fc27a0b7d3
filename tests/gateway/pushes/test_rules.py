"""What can be pushed to, and what is shown of it."""

import pytest

from gateway.errors import InvalidError
from gateway.pushes.rules import check_url, shown


def test_addresses_of_servers_are_taken() -> None:
    for url in (
        "rtmp://live.example/app/key",
        "rtmps://me:p@[2001:db8::1]:443/a/b/c?k=1",
        "rtsp://h/a",
        "rtsps://h/a/b?k=1",
        "rtsp://h/a#transport=udp",
    ):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "live/key",
        "http://h/a/b",
        "rtmp:///a/b",
        "rtmp://h:0/a/b",
        "rtmp://h:x/a/b",
        "rtmp://h/a\nb",
        "rtmp://[::/a",
        "rtmp://h/a/b#transport=udp",
        "rtsps://h/a#transport=udp",
        "rtsp://h/a#transport=quic",
    ],
)
def test_what_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        check_url(url)
    with pytest.raises(InvalidError):
        check_url("rtmp://h/a/" + "b" * 2048)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtmp://h:1/live/cam", "rtmp://h:1/live/cam"),
        ("rtmp://me:secret@h/live/cam?key=secret", "rtmp://h/live/cam…"),
        ("rtsp://me:secret@h:8554/cam?key=secret", "rtsp://h:8554/cam…"),
        ("rtsp://h/a/cam?k=1#transport=udp", "rtsp://h/a/cam…#transport=udp"),
        ("rtmps://h/live2/abcd-efgh-1234-5678", "rtmps://h/live2/abcd…"),
    ],
)
def test_keys_are_not_shown(url: str, told: str) -> None:
    assert shown(url) == told
