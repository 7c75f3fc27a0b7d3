"""Options of a stream, as operators set them."""

import pytest

from tests.api.conftest import Client

PATH = "/gb/v1/streams/stream1/options"
NEW = {"name": "stream1", "access_type": "RTMP", "encode_type": "H264"}


@pytest.fixture(autouse=True)
async def _stream(client: Client) -> None:
    await client.ok("POST", "streams", NEW)


async def test_what_is_chosen_counts_and_the_rest_is_the_default(client: Client) -> None:
    before = (await client("GET", PATH)).json()
    assert set(before["own"].values()) == {None}
    assert None not in before["effective"].values()
    chosen = {"forms": ["rtsp", "flv"], "audio": False, "hls_segments": 10, "recording_form": "hls"}
    answer = await client("PUT", PATH, chosen)
    assert answer.status_code == 200, answer.text
    now = (await client("GET", PATH)).json()
    assert now == answer.json()
    assert (now["own"]["forms"], now["own"]["audio"], now["own"]["merge_write"]) == (["flv", "rtsp"], False, None)
    assert before["effective"]["recording_form"] == "auto"
    assert now["effective"] == before["effective"] | chosen | {"forms": ["flv", "rtsp"]}
    assert (await client("PUT", PATH, {})).json() == before


async def test_what_cannot_be_is_refused(client: Client) -> None:
    for wrong in (
        {"forms": ["dash"]},
        {"hls_segment": 60},
        {"gop_bytes_max": -1},
        {"no_viewers": "never"},
        {"hls_always": ["mp3"]},
        {"recording_form": "mp4"},
        {"gop": 1},
    ):
        answer = await client("PUT", PATH, wrong)
        assert answer.status_code == 400, (wrong, answer.text)
    assert (await client("GET", "/gb/v1/streams/unknown/options")).status_code == 404
    assert (await client("PUT", "/gb/v1/streams/unknown/options", {})).status_code == 404
