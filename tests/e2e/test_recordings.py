"""Recordings given out again: by ranges of HTTP, as HLS, and played back as a stream."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import utc_now
from tests.e2e.encoders import pushing, recorded
from tests.e2e.playing import ffprobe
from tests.e2e.running import RunningGateway
from tests.e2e.test_retention import NOON, reached, slices

MEDIA_TYPES = {".flv": "video/x-flv", ".mp4": "video/mp4"}

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]


async def pictures(source: str | Path) -> int:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_packets",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=nb_read_packets",
    ]
    process = await asyncio.create_subprocess_exec(
        *command, "-of", "csv=p=0", str(source), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(40):
        out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return int(out.decode().split()[0].strip(","))  # of HLS it is said twice: of the programme, and of the stream


async def ask(gateway: RunningGateway, method: str, path: str, status: int = 200, **given: Any) -> Any:
    answer = await gateway.client.request(method, f"{gateway.url}/gb/v1/{path}", **given)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("form", "suffix"), [("auto", ".flv"), ("hls", ".mp4")])
async def test_what_was_recorded_is_given_out_again(tmp_path: Path, form: str, suffix: str) -> None:
    """Of H.264, in each form; of the second slice what a gateway left that was killed."""
    gateway = await RunningGateway(tmp_path, {"GATEWAY_MEDIA__RECORDING_FORM": form}).start()
    try:
        await gateway.call("POST", "streams", {"name": "kept", "access_type": "RTMP", "encode_type": "H264"})
        body = {"retention_forever": True, "store_type": "local", "timezone": NOON, "state": "ACTIVE"}
        await gateway.call("PUT", "streams/kept/retention", body)
        await gateway.call("PUT", "streams/kept", {"state": "ACTIVE"})
        begin = utc_now()
        for last in (False, True):
            address = (await gateway.call("GET", "streams/kept/endpoint"))["push_flow_address"]
            async with pushing(address):
                await asyncio.sleep(6)
                picture = await gateway.client.get(f"{gateway.url}/gb/v1/streams/kept/snapshot.jpg?width=160")
                assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg"), picture.text
                assert picture.content.startswith(b"\xff\xd8")
                if last:
                    gateway.kill()
            await asyncio.sleep(1)
        await gateway.start()
        await ask(gateway, "GET", "streams/kept/snapshot.jpg", 409)
        kept = await reached(
            lambda: slices(gateway, "kept"),
            lambda found: len(found) == 2 and {one["state"] for one in found} == {"UPLOADED"},
            30,
            gateway,
        )
        times = {"begin": (begin - timedelta(seconds=5)).isoformat(), "end": utc_now().isoformat()}
        listing = await ask(gateway, "GET", "streams/kept/recordings", params=times)
        assert [one["size_bytes"] for one in listing["recordings"]] == [one["size"] for one in kept]
        files = [tmp_path / "recordings" / gateway.project / one["path"] for one in kept]
        await by_ranges(listing["recordings"][0]["url"], files[0].read_bytes(), MEDIA_TYPES[suffix])
        assert {(file.suffix, one["encode_type"]) for file, one in zip(files, kept, strict=True)} == {(suffix, "H264")}
        counts = [await pictures(file) for file in files]
        for file, count in zip(files, counts, strict=True):
            listed = file.with_suffix(".m3u8")
            assert listed.exists() == (form == "hls")
            assert form != "hls" or await pictures(listed) == count, "also of what the killed one left"

        # Of HLS ffprobe counts what players get: every picture of both slices.
        assert await pictures(listing["hls"]) == sum(counts)
        assert await pictures(listing["recordings"][1]["url"]) == counts[1]

        made = await ask(gateway, "POST", "streams/kept/playbacks", 201, json={**times, "speed": 2.0, "paused": True})
        player = asyncio.create_task(recorded(made["play"]["http_flv"], tmp_path / "replay.mkv", 60))
        await asyncio.sleep(2)
        path = f"streams/kept/playbacks/{made['id']}"
        assert (await ask(gateway, "PATCH", path, json={"paused": False}))["paused"] is False
        await asyncio.wait_for(player, 40)
        assert await pictures(tmp_path / "replay.mkv") == sum(counts)
        probed = await ffprobe(tmp_path / "replay.mkv")
        assert {stream["codec_type"] for stream in probed["streams"]} == {"video"}, "twice as fast is without sound"

        steered = await ask(gateway, "POST", "streams/kept/playbacks", 201, json={**times, "paused": True})
        await from_second(2, steered["play"]["rtsp"], tmp_path / "steered.mkv")
        await ask(gateway, "DELETE", f"streams/kept/playbacks/{steered['id']}", 204)
        again = await ask(gateway, "POST", "streams/kept/playbacks", 201, json=times)
        await ask(gateway, "PATCH", f"streams/kept/playbacks/{again['id']}", json={"position": kept[1]["start_time"]})
        await ask(gateway, "DELETE", f"streams/kept/playbacks/{again['id']}", 204)
        await ask(gateway, "GET", f"streams/kept/playbacks/{again['id']}", 404)
        await ask(
            gateway,
            "POST",
            "streams/kept/playbacks",
            404,
            json={"begin": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"},
        )
        await ask(gateway, "POST", "streams/kept/playbacks", 400, json={**times, "speed": 99})
    finally:
        await gateway.close()


async def from_second(second: int, address: str, file: Path) -> None:
    """ffmpeg seeks by RTSP and plays two seconds into a file."""
    asked = ["-rtsp_transport", "tcp", "-ss", str(second), "-i", address, "-t", "2", "-c", "copy", str(file)]
    process = await asyncio.create_subprocess_exec("ffmpeg", "-v", "error", "-nostdin", *asked)
    try:
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert await pictures(file) > 10


async def by_ranges(url: str, data: bytes, media_type: str) -> None:
    async with httpx.AsyncClient() as client:
        whole = await client.get(url)
        assert (whole.status_code, whole.content) == (200, data)
        assert whole.headers["content-type"] == media_type
        etag = whole.headers["etag"]
        for asked, first, behind in (("0-0", 0, 1), ("100-199", 100, 200), ("1000-", 1000, None), ("-10", -10, None)):
            part = await client.get(url, headers={"Range": f"bytes={asked}", "If-Range": etag})
            assert (part.status_code, part.content) == (206, data[first:behind]), asked
        assert part.headers["content-range"] == f"bytes {len(data) - 10}-{len(data) - 1}/{len(data)}"
        assert (await client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})).status_code == 200
        assert (await client.get(url, headers={"Range": f"bytes={len(data)}-"})).status_code == 416
        assert (await client.get(url, headers={"If-None-Match": etag})).status_code == 304
        told = await client.head(url)
        assert (told.status_code, told.headers["content-length"], told.content) == (200, str(len(data)), b"")
        assert (await client.get(url.replace("sign=", "sign=x"))).status_code == 403
