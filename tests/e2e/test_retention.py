"""What is recorded arrives whole: the bucket is away, then slow, and the gateway is killed twice meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.clip import ClipSpec
from gateway.simulator.model import VideoCodec
from tests import s3
from tests.e2e.cameras import SMALL, cameras, ipc
from tests.e2e.playing import ffprobe, picture_sums, sent_sums
from tests.e2e.running import RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]

H265 = ClipSpec(video=VideoCodec.H265, width=320, height=180, fps=10, gop=10, bitrate_bps=200_000)
UNWRITTEN_S = 3.0
"""What a killed process may take with it: what it had not handed to the kernel yet."""


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
    day = datetime.now(UTC).date().isoformat()  # noqa: TID251  (the gateway's clock is the real one)
    query = f"start_time={day}T00:00:00Z&end_time={day}T23:59:59Z"
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


@pytest.mark.timeout(420)
@pytest.mark.parametrize("clip", [SMALL, H265], ids=["H.264 as FLV", "H.265 as MP4"])
async def test_every_picture_is_stored_once(
    tmp_path: Path,
    s3_server: s3.Server,
    bucket: str,
    clip: ClipSpec,
    record_property: Callable[[str, object], None],
) -> None:
    async with s3.proxy(s3_server) as (port, faults):
        gateway = await RunningGateway(tmp_path, with_bucket(port)).start()
        try:
            [camera] = await gateway.provision("IPC")
            async with cameras(gateway, [ipc(camera)], clip=clip):
                channel = await gateway.wait_for(camera, "ONLINE")
                stream = channel.stream_name
                body = {
                    "retention_in_hour": 1,
                    "store_type": "obs",
                    "bucket": bucket,
                    "path": "kept/",
                    "timezone": "GMT+8",
                }
                wanted = {**body, "slice_in_minute": 1, "state": "ACTIVE"}
                await gateway.call("PUT", f"streams/{stream}/retention", wanted)
                assert (await gateway.set_state(channel, "ACTIVE")).is_success
                await gateway.wait_for(camera, "INVITE_SUCCESS")

                def listed() -> Any:
                    return slices(gateway, stream)

                await reached(listed, lambda all_: len(all_) == 1 and all_[0]["state"] == "UPLOADED", 90, gateway)
                faults.away()
                await reached(listed, lambda all_: len(all_) == 2 and all_[1]["state"] == "PENDING", 90, gateway)
                await reached(
                    lambda: figure(gateway, 'gateway_retention_total{name="upload_failed"}'),
                    lambda n: n > 0,
                    30,
                    gateway,
                )
                await asyncio.sleep(5)
                first_kill = time.time()  # noqa: TID251
                gateway.kill()

                faults.heal()
                faults.delay = 1.0
                await gateway.start()
                await gateway.wait_for(camera, "INVITE_SUCCESS", seconds=40)
                await reached(listed, lambda all_: len(all_) >= 3, 30, gateway)
                await asyncio.sleep(5)
                assert faults.delayed, "an upload is under way"
                assert "PENDING" in {one["state"] for one in await listed()}
                second_kill = time.time()  # noqa: TID251
                gateway.kill()

                faults.heal()
                await gateway.start()
                await gateway.wait_for(camera, "INVITE_SUCCESS", seconds=40)
                await asyncio.sleep(5)
                await gateway.call("PUT", f"streams/{stream}/retention", {"timezone": "GMT+8", "state": "STOPPED"})
                kept = await reached(
                    listed, lambda all_: len(all_) >= 5 and {one["state"] for one in all_} == {"UPLOADED"}, 60, gateway
                )
                gaps = await gateway.client.get(
                    f"{gateway.url}/gb/v1/streams/{stream}/recordings/gaps",
                    params={"day": datetime.now(UTC).astimezone().date().isoformat()},  # noqa: TID251
                )
                assert gaps.status_code == 200, gaps.text
        finally:
            await gateway.close()

    objects = await s3_server.objects(bucket)
    assert sorted(objects) == sorted(one["path"] for one in kept)
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    sent = await sent_sums(clip, tmp_path)
    assert len(set(sent)) == len(sent), "each picture can be told from all others"
    indices: list[int] = []
    for one in sorted(kept, key=lambda one: one["start_time"]):
        file = tmp_path / Path(one["path"]).name
        file.write_bytes(objects[one["path"]])
        assert file.suffix == (".mp4" if clip is H265 else ".flv")
        assert one["size"] == file.stat().st_size
        probed = await ffprobe(file)
        [video] = [found for found in probed["streams"] if found["codec_type"] == "video"]
        assert (video["width"], video["height"]) == (320, 180)
        indices += [sent.index(picture) for picture in await picture_sums(file)]
    found = runs(indices, len(sent))
    record_property("pictures", len(indices))
    record_property("runs", [len(run) for run in found])
    assert len(found) == 3, [len(run) for run in found]
    ends = [datetime.fromisoformat(one["end_time"]).timestamp() for one in kept]
    for kill in (first_kill, second_kill):
        assert min(abs(kill - end) for end in ends) < UNWRITTEN_S + 1, (kill, ends)
