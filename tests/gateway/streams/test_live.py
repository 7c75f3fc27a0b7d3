"""Where a stream plays."""

from datetime import UTC, datetime

import pytest

from gateway.streams.live import LiveStream, play_addresses
from gateway.streams.model import AccessType, ShareType, StreamRecord, StreamState

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Signer:
    """Shows what was to be signed."""

    def stream(self, app: str, name: str) -> LiveStream | None:
        return None

    def sign(self, app: str, name: str, expires: int) -> str:
        return f"expires={expires}&sign={app}.{name}"


def record(share: ShareType, name: str = "channel_1_2") -> StreamRecord:
    return StreamRecord(
        stream_id="stream-AbCd1234",
        project_id="a" * 32,
        app="default",
        name=name,
        access_type=AccessType.GB28181,
        share_type=share,
        state=StreamState.ACTIVE,
        description="",
        encode_type="",
        device_id="1",
        channel_id="2",
        tcp_priority=False,
        created_at=NOW,
        updated_at=NOW,
    )


def test_private_addresses_are_signed() -> None:
    addresses = play_addresses(record(ShareType.PRIVATE), "http://192.0.2.1:8080", Signer(), 1700000000)
    query = "?expires=1700000000&sign=default.channel_1_2"
    assert addresses.http_flv == f"http://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.ws_flv == f"ws://192.0.2.1:8080/default/channel_1_2.live.flv{query}"
    assert addresses.hls == f"http://192.0.2.1:8080/default/channel_1_2/hls.m3u8{query}"
    assert addresses.hls_fmp4 == f"http://192.0.2.1:8080/default/channel_1_2/hls.fmp4.m3u8{query}"


def test_public_addresses_are_bare() -> None:
    addresses = play_addresses(record(ShareType.PUBLIC), "https://video.example.org", Signer(), 1)
    assert addresses.ws_flv == "wss://video.example.org/default/channel_1_2.live.flv"


@pytest.mark.parametrize(("name", "quoted"), [("a b", "a%20b"), ("a/b?", "a%2Fb%3F"), ("门", "%E9%97%A8")])
def test_names_are_quoted(name: str, quoted: str) -> None:
    addresses = play_addresses(record(ShareType.PUBLIC, name), "http://h", Signer(), 1)
    assert addresses.hls == f"http://h/default/{quoted}/hls.m3u8"
