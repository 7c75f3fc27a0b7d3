"""Where a stream plays."""

import pytest

from gateway.streams.live import Bases, play_addresses

BASES = Bases("http://192.0.2.1:8080", "rtmp://192.0.2.1:1935", "rtsp://192.0.2.1:8554", "http://192.0.2.1:8080")


def test_private_addresses_are_signed() -> None:
    addresses = play_addresses("default", "channel_1_2", BASES, query="expires=1700000000&sign=s")
    query = "?expires=1700000000&sign=s"
    assert addresses.http_flv == f"http://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.ws_flv == f"ws://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.http_ts == f"http://192.0.2.1:8080/default/channel_1_2.live.ts{query}"
    assert addresses.ws_ts == f"ws://192.0.2.1:8080/default/channel_1_2.live.ts{query}"
    assert addresses.http_fmp4 == f"http://192.0.2.1:8080/default/channel_1_2.live.mp4{query}"
    assert addresses.ws_fmp4 == f"ws://192.0.2.1:8080/default/channel_1_2.live.mp4{query}"
    assert addresses.hls == f"http://192.0.2.1:8080/default/channel_1_2/hls.m3u8{query}"
    assert addresses.hls_fmp4 == f"http://192.0.2.1:8080/default/channel_1_2/hls.fmp4.m3u8{query}"
    assert addresses.hls_ll == f"http://192.0.2.1:8080/default/channel_1_2/hls.ll.m3u8{query}"
    assert addresses.rtmp == f"rtmp://192.0.2.1:1935/default/channel_1_2{query}"
    assert addresses.rtsp == f"rtsp://192.0.2.1:8554/default/channel_1_2{query}"
    assert addresses.whep == f"http://192.0.2.1:8080/whep/default/channel_1_2{query}"


def test_public_addresses_are_bare() -> None:
    addresses = play_addresses("default", "channel_1_2", Bases("https://video.example.org", None, None, None), query="")
    assert addresses.ws_flv == "wss://video.example.org/default/channel_1_2.live.flv"
    assert addresses.rtmp is None
    assert addresses.rtsp is None
    assert addresses.whep is None


@pytest.mark.parametrize(("name", "quoted"), [("a b", "a%20b"), ("a/b?", "a%2Fb%3F"), ("门", "%E9%97%A8")])
def test_names_are_quoted(name: str, quoted: str) -> None:
    addresses = play_addresses("default", name, BASES, query="")
    assert addresses.hls == f"http://192.0.2.1:8080/default/{quoted}/hls.m3u8"
    assert addresses.rtmp == f"rtmp://192.0.2.1:1935/default/{quoted}"
    assert addresses.rtsp == f"rtsp://192.0.2.1:8554/default/{quoted}"
