"""§4.2.5 to §4.2.7: streams."""

from datetime import timedelta

import pytest

from tests.api.conftest import Client
from tests.api.world import Live, World

NVR = "34020000001180000001"
CHANNELS = [f"3402000000131000000{number}" for number in (1, 2, 3)]
NAME = f"channel_{NVR}_{CHANNELS[0]}"


@pytest.fixture(autouse=True)
async def nvr(client: Client, world: World, credential: str) -> None:
    await client.ok("POST", "devices", {"type": "NVR", "username": credential})
    await world.register(NVR, client.project_id, channels=3)


async def invite(client: Client, channel: str = CHANNELS[0]) -> None:
    await client.ok("PUT", f"devices/{NVR}/channels/{channel}", {"state": "ACTIVE"})


async def test_a_stream_that_does_not_flow(client: Client) -> None:
    stream = await client.ok("GET", f"streams/{NAME}")
    assert stream.pop("stream_id").startswith("stream-")
    assert stream == {
        "access_type": "GB28181",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:00Z",
        "description": "",
        "share_type": "PRIVATE",
        "name": NAME,
        "state": "STOPPED",
        "retention_state": "STOPPED",
        "tag": [],
        "encode_type": "",
        "transfer_protocol": "UDP",
        "stream_flow_info": {"is_publishing": False, "bytes_in": "0 MB", "bytes_out": "0 MB"},
    }
    await client.refused("VIS.0202", "GET", "streams/unknown")


async def test_a_stream_that_flows(client: Client, world: World) -> None:
    await invite(client)
    world.relay.live["default", NAME] = Live(transport="tcp_passive")
    stream = await client.ok("GET", f"streams/{NAME}")
    assert (stream["state"], stream["encode_type"], stream["transfer_protocol"]) == ("ACTIVE", "H264", "TCP")
    assert stream["stream_flow_info"] == {
        "is_publishing": True,
        "bytes_in": "131.471 MB",
        "bytes_out": "15.775 GB",
        "bw_in": "102.883 Kb/s",
        "bw_out": "0 Kb/s",
        "bw_video": "100 Kb/s",
        "bw_audio": "2.883 Kb/s",
        "num_play_clients": 2,
        "meta": {"video": {"codec": "H264", "width": "704", "height": "576"}},
    }


async def test_a_receiver_that_got_nothing_yet_does_not_publish(client: Client, world: World) -> None:
    world.relay.live["default", NAME] = Live(first_packet_ms=None)
    assert (await client.ok("GET", f"streams/{NAME}"))["stream_flow_info"]["is_publishing"] is False


async def test_list_whole_filtered_and_paged(client: Client, world: World) -> None:
    world.now += timedelta(minutes=1)
    await invite(client)
    names = [f"channel_{NVR}_{channel}" for channel in CHANNELS]
    every = await client.ok("GET", "streams")
    assert sorted(stream["name"] for stream in every) == names
    assert "stream_flow_info" not in every[0]
    for query, found in [
        ({"name": "0000002"}, 1),
        ({"name": "CHANNEL_"}, 3),
        ({"stream_state": "active"}, 1),
        ({"stream_state": "STOPPED"}, 2),
        ({"retention_state": "ACTIVE"}, 0),
        ({"retention_state": "stopped"}, 3),
    ]:
        assert len(await client.ok("GET", "streams", **query)) == found, query
    page = await client.ok("GET", "streams", offset=2, limit=2, order_by="name", sort="DESC")
    assert (page["total"], [stream["name"] for stream in page["entries"]]) == (3, names[1::-1])
    for order in (
        "encode_type", "access_type", "share_type", "created_at", "name", "state", "retention_state"
    ):  # fmt: skip
        assert (await client.ok("GET", "streams", offset=1, limit=9, order_by=order))["total"] == 3
    await client.refused("VIS.0005", "GET", "streams", stream_state="ON")
    await client.refused("VIS.0005", "GET", "streams", retention_state="ON")


async def test_a_stopped_stream_has_no_endpoint(client: Client) -> None:
    await client.refused("VIS.0204", "GET", f"streams/{NAME}/endpoint")
    await client.refused("VIS.0202", "GET", "streams/unknown/endpoint")


@pytest.mark.parametrize(
    ("codec", "fields"),
    [
        ("H264", {"pull_flow_address"}),
        ("H265", {"hls_pull_flow_address"}),
        (None, {"pull_flow_address", "hls_pull_flow_address"}),
    ],
)
async def test_the_endpoint_follows_the_coding(
    client: Client, world: World, codec: str | None, fields: set[str]
) -> None:
    await invite(client)
    world.relay.live["default", NAME] = Live(video_codec=codec)
    endpoint = await client.ok("GET", f"streams/{NAME}/endpoint")
    assert endpoint.keys() == {"push_flow_protocol", "push_flow_address", "addresses", "without_sound"} | fields
    assert (endpoint["push_flow_protocol"], endpoint["push_flow_address"]) == ("GB28181", "192.0.2.1")
    query = f"?expires={int((world.now + timedelta(hours=24)).timestamp())}&sign=s"
    addresses = endpoint["addresses"]
    # The sound is G.711; beside no pictures it is in every format.
    assert endpoint["without_sound"] == ([] if codec is None else ["http_ts", "ws_ts", "hls"])
    assert addresses == {
        "http_flv": f"http://gateway.example/default/{NAME}.live.flv{query}",
        "ws_flv": f"ws://gateway.example/default/{NAME}.live.flv{query}",
        "http_ts": f"http://gateway.example/default/{NAME}.live.ts{query}",
        "ws_ts": f"ws://gateway.example/default/{NAME}.live.ts{query}",
        "http_fmp4": f"http://gateway.example/default/{NAME}.live.mp4{query}",
        "ws_fmp4": f"ws://gateway.example/default/{NAME}.live.mp4{query}",
        "hls": f"http://gateway.example/default/{NAME}/hls.m3u8{query}",
        "hls_fmp4": f"http://gateway.example/default/{NAME}/hls.fmp4.m3u8{query}",
        "hls_ll": f"http://gateway.example/default/{NAME}/hls.ll.m3u8{query}",
        "rtmp": f"rtmp://gateway.example:1935/default/{NAME}{query}",
        "rtsp": f"rtsp://gateway.example:8554/default/{NAME}{query}",
        "whep": None,
    }
    assert endpoint.get("pull_flow_address", addresses["http_flv"]) == addresses["http_flv"]
    assert endpoint.get("hls_pull_flow_address", addresses["hls"]) == addresses["hls"]


async def test_addresses_are_as_the_client_came(client: Client) -> None:
    await invite(client)
    headers = {"X-Auth-Token": str(client.token), "Host": "video.example:8443", "X-Forwarded-Proto": "https"}
    answer = await client.http.get(f"/v1/{client.project_id}/streams/{NAME}/endpoint", headers=headers)
    assert answer.json()["addresses"]["ws_flv"].startswith("wss://video.example:8443/default/")
    assert answer.json()["addresses"]["rtmp"].startswith("rtmps://video.example:1936/default/")
    assert answer.json()["addresses"]["rtsp"].startswith("rtsp://video.example:8554/default/"), "no TLS port"
