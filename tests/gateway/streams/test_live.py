"""Where a stream plays."""

import pytest

from gateway.streams.live import LiveStream, play_addresses


class Signer:
    """Shows what was to be signed."""

    def stream(self, app: str, name: str) -> LiveStream | None:
        return None

    def streams(self) -> list[LiveStream]:
        return []

    def sign(self, app: str, name: str, expires: int) -> str:
        return f"expires={expires}&sign={app}.{name}"


def test_private_addresses_are_signed() -> None:
    addresses = play_addresses(
        "default", "channel_1_2", "http://192.0.2.1:8080", relay=Signer(), expires=1700000000, private=True
    )
    query = "?expires=1700000000&sign=default.channel_1_2"
    assert addresses.http_flv == f"http://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.ws_flv == f"ws://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.hls == f"http://192.0.2.1:8080/default/channel_1_2/hls.m3u8{query}"
    assert addresses.hls_fmp4 == f"http://192.0.2.1:8080/default/channel_1_2/hls.fmp4.m3u8{query}"
    assert addresses.rtmp is None


def test_rtmp_has_a_port_of_its_own() -> None:
    for base, host in (
        ("https://video.example.org", "video.example.org"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]"),
    ):
        addresses = play_addresses("a", "b c", base, relay=Signer(), expires=1, private=True, rtmp_port=1935)
        assert addresses.rtmp == f"rtmp://{host}:1935/a/b%20c?expires=1&sign=a.b c"


def test_public_addresses_are_bare() -> None:
    addresses = play_addresses(
        "default", "channel_1_2", "https://video.example.org", relay=Signer(), expires=1, private=False
    )
    assert addresses.ws_flv == "wss://video.example.org/default/channel_1_2.live.flv"


@pytest.mark.parametrize(("name", "quoted"), [("a b", "a%20b"), ("a/b?", "a%2Fb%3F"), ("门", "%E9%97%A8")])
def test_names_are_quoted(name: str, quoted: str) -> None:
    addresses = play_addresses("default", name, "http://h", relay=Signer(), expires=1, private=False)
    assert addresses.hls == f"http://h/default/{quoted}/hls.m3u8"
