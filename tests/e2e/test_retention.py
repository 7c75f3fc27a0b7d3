"""What is recorded arrives whole: the bucket is away, then slow, and the gateway is killed twice meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import utc_now
from gateway.retention.gaps import TOLERANCE
from gateway.simulator.clip import ClipSpec
from gateway.simulator.model import VideoCodec
from tests import s3
from tests.e2e.cameras import SMALL, cameras, ipc
from tests.e2e.encoders import pushing, serving
from tests.e2e.playing import ffprobe, picture_sums, sent_sums
from tests.e2e.running import RunningGateway
from tests.ports import free_ports

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]

H265 = ClipSpec(video=VideoCodec.H265, width=320, height=180, fps=10, gop=10, bitrate_bps=200_000)
NOON = f"GMT{12 - utc_now().hour:+}:00"
"""A zone where no midnight is near."""
UNWRITTEN_S = 3.0
"""What a killed process may take with it: what it had not handed to the kernel yet."""
DEAD_S = TOLERANCE.total_seconds() + 1
"""A gateway is left dead so long: a shorter gap is none for the report."""


def with_bucket(port: int) -> dict[str, str]:
    return {
        "GATEWAY_RETENTION__OBS__ENDPOINT": f"http://127.0.0.1:{port}",
        "GATEWAY_RETENTION__OBS__ACCESS_KEY_ID": "test",
        "GATEWAY_RETENTION__OBS__SECRET_ACCESS_KEY": "test-test-test",
    }


async def figure(gateway: RunningGateway, name: str) -> float:
    text = (await gateway.client.get(f"{gateway.url}/metrics")).text
    found = [line for line in text.splitlines() if line.startswith(f"{name} ") or line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def slices(gateway: RunningGateway, stream: str) -> list[dict[str, Any]]:
    begin, end = (f"{utc_now() + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 1))
    query = f"start_time={begin}&end_time={end}"
    return list((await gateway.call("GET", f"streams/{stream}/retention/slices?{query}"))["entries"])


async def reached(what: Callable[[], Any], good: Callable[[Any], bool], seconds: float, gateway: RunningGateway) -> Any:
    found = None
    try:
        async with asyncio.timeout(seconds):
            while not good(found := await what()):  # noqa: ASYNC110  (another process tells nobody)
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{found}\n{gateway.log[-6000:]}") from None
    return found


def runs(indices: Sequence[int], length: int) -> list[list[int]]:
    """The pictures cut where one does not follow the one before."""
    found: list[list[int]] = []
    for index in indices:
        if found and index == (found[-1][-1] + 1) % length:
            found[-1].append(index)
        else:
            found.append([index])
    return found


@dataclass
class Kept:
    """What became of one camera's stream."""

    clip: ClipSpec
    stream: str
    slices: list[dict[str, Any]]


async def retain(gateway: RunningGateway, camera: str, bucket: str) -> str:
    """Invites the camera and retains its stream, whose name is returned."""
    channel = await gateway.wait_for(camera, "ONLINE")
    body = {"retention_in_hour": 1, "store_type": "obs", "bucket": bucket, "path": "kept/", "timezone": NOON}
    await gateway.call(
        "PUT", f"streams/{channel.stream_name}/retention", {**body, "slice_in_minute": 1, "state": "ACTIVE"}
    )
    assert (await gateway.set_state(channel, "ACTIVE")).is_success
    await gateway.wait_for(camera, "INVITE_SUCCESS")
    return channel.stream_name


async def check(found: Kept, objects: dict[str, bytes], folder: Path, kills: Sequence[float]) -> list[int]:
    """Every object plays, and those of each life of the gateway hold a run of pictures without one missing or twice, up
    to the moment it was killed. How many pictures each run has."""
    sent = await sent_sums(found.clip, folder)
    assert len(set(sent)) == len(sent), "each picture can be told from all others"
    lives: list[list[int]] = [[] for _ in range(len(kills) + 1)]
    for one in sorted(found.slices, key=lambda one: one["start_time"]):
        file = folder / Path(one["path"]).name
        file.write_bytes(objects[one["path"]])
        assert file.suffix == (".mp4" if found.clip is H265 else ".flv")
        assert one["size"] == file.stat().st_size
        probed = await ffprobe(file)
        [video] = [stream for stream in probed["streams"] if stream["codec_type"] == "video"]
        assert (video["width"], video["height"]) == (320, 180)
        began = datetime.fromisoformat(one["start_time"]).timestamp()
        life = sum(kill < began for kill in kills)
        lives[life] += [sent.index(picture) for picture in await picture_sums(file)]
    assert all(len(runs(life, len(sent))) == 1 for life in lives), [runs(life, len(sent)) for life in lives]
    ends = [datetime.fromisoformat(one["end_time"]).timestamp() for one in found.slices]
    for kill in kills:
        assert min(abs(kill - end) for end in ends) < UNWRITTEN_S + 1, (kill, ends)
    return [len(life) for life in lives]


@pytest.mark.timeout(270)
async def test_every_picture_is_stored_once(
    tmp_path: Path, s3_server: s3.Server, bucket: str, record_property: Callable[[str, object], None]
) -> None:
    """Of a camera that sends H.264, kept as FLV, and one that sends H.265, kept as MP4."""
    async with s3.proxy(s3_server) as (port, faults):
        gateway = await RunningGateway(tmp_path, with_bucket(port)).start()
        try:
            first, second = await gateway.provision("IPC", 2)
            async with (
                cameras(gateway, [ipc(first)], clip=SMALL),
                cameras(gateway, [ipc(second)], clip=H265),
            ):
                streams = [await retain(gateway, camera, bucket) for camera in (first, second)]

                async def listed() -> list[list[dict[str, Any]]]:
                    return [await slices(gateway, stream) for stream in streams]

                async def until(count: int, states: set[str], seconds: float) -> list[list[dict[str, Any]]]:
                    def good(found: list[list[dict[str, Any]]]) -> bool:
                        return all(len(one) >= count and {each["state"] for each in one} == states for one in found)

                    found: list[list[dict[str, Any]]] = await reached(listed, good, seconds, gateway)
                    return found

                async def invited() -> None:
                    for camera in (first, second):
                        await gateway.wait_for(camera, "INVITE_SUCCESS", seconds=40)

                await until(1, {"UPLOADED"}, 90)
                faults.away()
                await until(2, {"UPLOADED", "PENDING"}, 90)
                failed = 'gateway_retention_total{name="upload_failed"}'
                await reached(lambda: figure(gateway, failed), lambda count: count > 0, 30, gateway)
                await asyncio.sleep(5)
                kills = [utc_now().timestamp()]
                gateway.kill()

                faults.heal()
                faults.delay = 1.0
                await asyncio.sleep(DEAD_S)
                await gateway.start()
                await invited()
                await until(3, {"UPLOADED", "PENDING"}, 30)
                await asyncio.sleep(5)
                assert faults.delayed, "an upload is under way"
                assert "PENDING" in {one["state"] for found in await listed() for one in found}
                kills.append(utc_now().timestamp())
                gateway.kill()

                faults.heal()
                await asyncio.sleep(DEAD_S)
                await gateway.start()
                await invited()
                await asyncio.sleep(5)
                for stream in streams:
                    await gateway.call("PUT", f"streams/{stream}/retention", {"timezone": NOON, "state": "STOPPED"})
                kept = await until(5, {"UPLOADED"}, 60)
                await gaps_are_told(gateway, streams[0], len(kills))
        finally:
            await gateway.close()

    objects = await s3_server.objects(bucket)
    assert sorted(objects) == sorted(one["path"] for found in kept for one in found)
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    for clip, stream, found in zip((SMALL, H265), streams, kept, strict=True):
        lives = await check(Kept(clip, stream, found), objects, tmp_path, kills)
        record_property("pictures", lives)


async def gaps_are_told(gateway: RunningGateway, stream: str, kills: int) -> None:
    """The times when nobody recorded because the gateway was dead, and no others but the wait for the camera."""
    day = (utc_now() + timedelta(hours=12 - utc_now().hour)).date().isoformat()
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/streams/{stream}/recordings/gaps", params={"day": day})
    assert answer.status_code == 200, answer.text
    causes = [gap["cause"] for gap in answer.json()["gaps"]]
    assert causes.count("GATEWAY_DOWN") == kills, answer.text
    assert set(causes) <= {"GATEWAY_DOWN", "STREAM_ABSENT"}, answer.text


async def test_streams_that_are_pushed_and_pulled_are_kept_too(tmp_path: Path) -> None:
    """In a local directory; their slices end with their sources, though what is pulled is tried again."""
    gateway = await RunningGateway(tmp_path, {"GATEWAY_PULL__ALLOW_PRIVATE": "1"}).start()
    try:
        [port] = free_ports(1)
        url = f"http://127.0.0.1:{port}/live.flv"
        await gateway.call("POST", "streams", {"name": "pushed-in", "access_type": "RTMP", "encode_type": "H264"})
        await gateway.call(
            "POST", "streams", {"name": "pulled-in", "access_type": "HTTP-FLV", "encode_type": "H264", "url": url}
        )
        for name in ("pushed-in", "pulled-in"):
            body = {"retention_forever": True, "store_type": "local", "timezone": NOON, "state": "ACTIVE"}
            await gateway.call("PUT", f"streams/{name}/retention", body)
        async with serving(port):
            for name in ("pushed-in", "pulled-in"):
                await gateway.call("PUT", f"streams/{name}", {"state": "ACTIVE"})
            address = (await gateway.call("GET", "streams/pushed-in/endpoint"))["push_flow_address"]
            async with pushing(address):
                await reached(
                    lambda: figure(gateway, "gateway_retention_recordings"), lambda count: count == 2, 40, gateway
                )
                await asyncio.sleep(6)
        for name in ("pushed-in", "pulled-in"):
            kept = await reached(
                lambda name=name: slices(gateway, name),
                lambda found: bool(found) and {one["state"] for one in found} == {"UPLOADED"},
                30,
                gateway,
            )
            for one in kept:
                file = tmp_path / "recordings" / gateway.project / one["path"]
                probed = await ffprobe(file)
                assert {stream["codec_type"] for stream in probed["streams"]} == {"video", "audio"}
            assert sum(one["frames"] for one in kept) > 15 * 5
    finally:
        await gateway.close()
