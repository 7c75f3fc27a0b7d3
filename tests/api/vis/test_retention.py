"""§4.2.4, and retention as streams show it (§4.2.5, §4.2.6)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.errors import STATUS
from gateway.retention.buckets import ObjectStorage
from gateway.retention.model import Mark, MarkKind, RecordingForm, SliceState
from gateway.scope import Scope
from gateway.streams.model import StreamState
from gateway.streams.options import OwnOptions
from tests import s3
from tests.api.conftest import Client, Opener
from tests.api.world import NOW, World
from tests.gateway.retention.samples import a_slice, recording

IPC = "34020000001320000001"
CHANNEL = "34020000001310000001"
NAME = f"channel_{IPC}_{CHANNEL}"
URL = f"streams/{NAME}/retention"
LOCAL = {"retention_in_hour": "24", "store_type": "local", "timezone": "GMT+8:00"}


async def camera(world: World, client: Client) -> None:
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    await client.ok("POST", "devices", {"type": "IPC", "username": "0100"})
    await world.register(IPC, client.project_id)


@pytest.fixture
async def local(opened: Opener, tmp_path: Path) -> tuple[World, Client]:
    """A gateway with a local directory and no object storage."""
    world, client = await opened(local_root=tmp_path / "kept")
    await camera(world, client)
    return world, client


async def with_bucket(opened: Opener, storage: ObjectStorage, **settings: Any) -> tuple[World, Client]:
    world, client = await opened(object_storage=storage, **settings)
    await camera(world, client)
    return world, client


async def shown(client: Client) -> Any:
    return (await client.ok("GET", f"streams/{NAME}")).get("retention")


async def test_a_stream_has_no_retention_at_first(local: tuple[World, Client]) -> None:
    stream = await local[1].ok("GET", f"streams/{NAME}")
    assert stream["retention_state"] == "STOPPED"
    assert "retention" not in stream


async def test_the_documents_request(
    opened: Opener,
    s3_server: s3.Server,
    bucket: str,
) -> None:
    """But for its 100000 hours, which its own table forbids."""
    world, client = await with_bucket(opened, s3_server.storage())
    body = {
        "retention_in_hour": 87600,
        "retention_forever": False,
        "store_type": "obs",
        "bucket": bucket,
        "path": "path/to/video/",
        "slice_in_minute": 1,
        "timezone": "GMT+8:00",
        "state": "ACTIVE",
    }
    await client.refused("VIS.0005", "PUT", URL, body | {"retention_in_hour": 100000})
    assert await client.ok("PUT", URL, body) == {"result": "success"}
    told = {
        "retention_in_hour": 87600,
        "retention_forever": False,
        "store_type": "OBS",
        "bucket": bucket,
        "path": "path/to/video/",
        "timezone": "GMT+08:00",
        "slice_in_minute": 1,
        "state": "ACTIVE",
    }
    stream = await client.ok("GET", f"streams/{NAME}")
    assert (stream["retention"], stream["retention_state"]) == (told, "ACTIVE")
    assert (await client.ok("GET", "streams"))[0]["retention"] == told
    assert [retained.retention.state for retained in world.recorder.told] == [StreamState.ACTIVE]
    assert await s3_server.objects(bucket) == {}, "the probe leaves nothing"


async def test_defaults(local: tuple[World, Client]) -> None:
    await local[1].ok("PUT", URL, LOCAL)
    assert await shown(local[1]) == {
        "retention_in_hour": 24,
        "retention_forever": False,
        "store_type": "LOCAL",
        "bucket": "",
        "path": "",
        "timezone": "GMT+08:00",
        "slice_in_minute": 5,
        "state": "STOPPED",
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timezone": None}, "timezone"),
        ({"timezone": "GMT+8:30"}, "timezone"),
        ({"timezone": "UTC+8"}, "timezone"),
        ({"retention_in_hour": None}, "retention_in_hour"),
        ({"retention_in_hour": 87601}, "retention_in_hour"),
        ({"retention_in_hour": -1}, "retention_in_hour"),
        ({"retention_in_hour": "a day"}, "retention_in_hour"),
        ({"retention_forever": "maybe"}, "retention_forever"),
        ({"store_type": None}, "store_type"),
        ({"store_type": "tape"}, "store_type"),
        ({"store_type": "obs", "path": ""}, "bucket"),
        ({"store_type": "obs", "bucket": "obs-momo"}, "path"),
        ({"store_type": "obs", "bucket": "Obs_Momo", "path": ""}, "bucket"),
        ({"slice_in_minute": 0}, "slice_in_minute"),
        ({"slice_in_minute": 61}, "slice_in_minute"),
        ({"slice_in_minute": 1.5}, "slice_in_minute"),
        ({"state": "RUNNING"}, "state"),
        ({"format": "AVI"}, "format"),
    ],
)
async def test_wrong_parameters(local: tuple[World, Client], change: dict[str, Any], field: str) -> None:
    body = {name: value for name, value in (LOCAL | change).items() if value is not None}
    assert field in await local[1].refused("VIS.0005", "PUT", URL, body)
    assert await shown(local[1]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"retention_in_hour": 24},
        {"retention_in_hour": "24.0"},
        {"store_type": "LOCAL"},
        {"state": "stopped"},
        {"timezone": "GMT+08"},
        {"slice_in_minute": "5"},
    ],
)
async def test_other_ways_to_say_the_same(local: tuple[World, Client], change: dict[str, Any]) -> None:
    await local[1].ok("PUT", URL, LOCAL | change)
    assert (await shown(local[1]))["retention_in_hour"] == 24


@pytest.mark.parametrize("name", ["retention_forever", "retention_for_ever"])
@pytest.mark.parametrize("value", [True, "TRUE"])
async def test_for_ever(local: tuple[World, Client], name: str, value: object) -> None:
    await local[1].ok("PUT", URL, {"store_type": "local", "timezone": "GMT+8", name: value})
    assert (await shown(local[1]))["retention_forever"] is True


async def test_no_such_stream(local: tuple[World, Client]) -> None:
    await local[1].refused("VIS.0202", "PUT", "streams/nobody/retention", LOCAL)
    query = {"start_time": "2026-03-01T00:00:00Z", "end_time": "2026-03-02T00:00:00Z"}
    await local[1].refused("VIS.0202", "GET", "streams/nobody/retention/slices", **query)


async def test_while_it_is_active_it_can_only_be_stopped(local: tuple[World, Client]) -> None:
    world, client = local
    await client.ok("PUT", URL, LOCAL | {"state": "ACTIVE"})
    await client.refused("VIS.0205", "PUT", URL, {"timezone": "GMT+8:00", "retention_in_hour": 48})
    await client.refused("VIS.0205", "PUT", URL, {"timezone": "GMT+8:00", "state": "ACTIVE"})
    await client.refused("VIS.0205", "PUT", URL, {"timezone": "GMT+9:00", "state": "STOPPED"})
    await client.ok("PUT", URL, {"timezone": "GMT+8:00", "state": "stopped"})
    await client.ok("PUT", URL, {"timezone": "GMT+8:00", "retention_in_hour": 48})
    found = await shown(client)
    assert (found["state"], found["retention_in_hour"], found["store_type"]) == ("STOPPED", 48, "LOCAL")
    assert len(world.recorder.told) == 3


@pytest.mark.parametrize("path", ["../other", "a/../../b", "a\\b", "a\x00b", "x" * 256, "a/./b"])
async def test_a_path_that_cannot_be(local: tuple[World, Client], path: str) -> None:
    await local[1].refused("VIS.0209", "PUT", URL, LOCAL | {"path": path})


async def test_without_an_object_storage_there_are_no_buckets(local: tuple[World, Client]) -> None:
    body = LOCAL | {"store_type": "obs", "bucket": "obs-momo", "path": ""}
    await local[1].refused("VIS.0010", "PUT", URL, body | {"state": "ACTIVE"})
    assert await shown(local[1]) is None
    await local[1].ok("PUT", URL, body)


async def test_buckets_that_cannot_be_used(
    opened: Opener,
    s3_server: s3.Server,
    bucket: str,
    broken: tuple[int, s3.Faults],
) -> None:
    port, faults = broken
    _, client = await with_bucket(opened, s3_server.storage(port))
    body = LOCAL | {"store_type": "obs", "bucket": bucket, "path": "", "state": "ACTIVE"}
    await client.refused("VIS.0209", "PUT", URL, body | {"bucket": "not-there"})
    faults.answer = (403, s3.DENIED)
    await client.refused("VIS.0210", "PUT", URL, body)
    faults.answer = (403, s3.BAD_KEY)
    await client.refused("VIS.0208", "PUT", URL, body)
    faults.answer = (503, s3.SLOW_DOWN)
    assert bucket in await client.refused("VIS.0011", "PUT", URL, body)
    faults.heal()
    faults.deny = ("HEAD",)
    assert "read" in await client.refused("VIS.0017", "PUT", URL, body)
    faults.deny = ("DELETE", "POST")
    assert "deleted" in await client.refused("VIS.0012", "PUT", URL, body)
    assert await shown(client) is None, "what was refused was not kept"
    faults.heal()
    await client.ok("PUT", URL, body)


async def test_a_local_directory_that_cannot_be_made(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    world, client = await opened(local_root=tmp_path / "kept")
    await camera(world, client)
    await client.refused("VIS.0013", "PUT", URL, LOCAL | {"state": "ACTIVE"})
    assert await shown(client) is None


async def test_a_bucket_of_another_project(
    opened: Opener,
    s3_server: s3.Server,
    bucket: str,
) -> None:
    _, client = await with_bucket(opened, s3_server.storage(), buckets={"other": [bucket]})
    body = LOCAL | {"store_type": "obs", "bucket": bucket, "path": ""}
    await client.refused("VIS.0210", "PUT", URL, body)
    await client.ok("PUT", URL, body | {"bucket": "everybodys"})


async def test_a_project_with_buckets_of_its_own_has_no_other(
    opened: Opener,
    s3_server: s3.Server,
    bucket: str,
) -> None:
    _, client = await with_bucket(opened, s3_server.storage(), buckets={"default": [bucket]})
    body = LOCAL | {"store_type": "obs", "bucket": bucket, "path": "", "state": "ACTIVE"}
    await client.refused("VIS.0210", "PUT", URL, body | {"bucket": "everybodys"})
    await client.ok("PUT", URL, body)


async def test_h265_is_not_written_as_flv(local: tuple[World, Client]) -> None:
    world, client = local
    await world.store.streams.set_encode_types([("default", NAME, "H265")], NOW)
    await client.refused("VIS.0213", "PUT", URL, LOCAL | {"format": "FLV"})
    await client.ok("PUT", URL, LOCAL | {"format": "mp4"})
    await world.store.streams.set_encode_types([("default", NAME, "H264")], NOW)
    await client.refused("VIS.0005", "PUT", URL, LOCAL | {"format": "MP4"})
    await client.ok("PUT", URL, LOCAL | {"format": "FLV"})


@pytest.mark.parametrize(
    ("form", "right", "wrong", "code"),
    [
        (RecordingForm.FMP4, "MP4", "FLV", {"H264": "VIS.0005", "H265": "VIS.0213"}),
        (RecordingForm.HLS, "MP4", "FLV", {"H264": "VIS.0005", "H265": "VIS.0213"}),
        (RecordingForm.FLV, "FLV", "MP4", {"H264": "VIS.0005", "H265": "VIS.0005"}),
    ],
)
async def test_where_the_form_of_recordings_is_chosen(
    opened: Opener, tmp_path: Path, *, form: RecordingForm, right: str, wrong: str, code: dict[str, str]
) -> None:
    world, client = await opened(local_root=tmp_path, recording_form=form)
    await camera(world, client)
    for coding, refused in code.items():
        await world.store.streams.set_encode_types([("default", NAME, coding)], NOW)
        await client.ok("PUT", URL, LOCAL | {"format": right})
        await client.refused(refused, "PUT", URL, LOCAL | {"format": wrong})


async def test_the_form_chosen_for_a_stream_is_gone_with_it(opened: Opener, tmp_path: Path) -> None:
    world, client = await opened(local_root=tmp_path)
    for chosen, right in (("hls", "MP4"), (None, "FLV")):
        await client.ok("POST", "streams", {"name": "gate", "access_type": "RTMP", "encode_type": "H264"})
        if chosen:
            own = OwnOptions(recording_form=RecordingForm(chosen))
            await world.gateway.options.put(Scope(client.project_id), "gate", own, NOW)
        await client.ok("PUT", "streams/gate/retention", LOCAL | {"format": right})
        await client.ok("DELETE", "streams/gate")


async def test_lists_by_retention_state(opened: Opener, tmp_path: Path) -> None:
    world, client = await opened(local_root=tmp_path)
    await client.ok("POST", "credentials/codes", {"username": "0100", "password": "Secret-1234"})
    await client.ok("POST", "devices", {"type": "NVR", "username": "0100"})
    nvr = "34020000001180000001"
    await world.register(nvr, client.project_id, channels=3)
    names = [f"channel_{nvr}_3402000000131000000{number}" for number in (1, 2, 3)]
    await client.ok("PUT", f"streams/{names[1]}/retention", LOCAL | {"state": "ACTIVE"})
    await client.ok("PUT", f"streams/{names[2]}/retention", LOCAL)

    async def listed(**query: Any) -> list[str]:
        found = await client.ok("GET", "streams", **query)
        return [stream["name"] for stream in (found["entries"] if "offset" in query else found)]

    assert await listed(retention_state="active") == [names[1]]
    assert sorted(await listed(retention_state="STOPPED")) == [names[0], names[2]]
    page = {"offset": 1, "limit": 10, "order_by": "retention_state"}
    assert (await listed(**page))[0] == names[1]
    assert (await listed(**page, sort="DESC"))[-1] == names[1]
    found = await client.ok("GET", "streams", offset=1, limit=1, retention_state="STOPPED")
    assert (found["total"], len(found["entries"])) == (2, 1)
    await client.refused("VIS.0005", "GET", "streams", retention_state="RUNNING")


async def test_slices_of_an_interval(local: tuple[World, Client]) -> None:
    world, client = local
    await client.ok("PUT", URL, LOCAL)
    stream_id = (await client.ok("GET", f"streams/{NAME}"))["stream_id"]
    of = recording(stream_id=stream_id, name=NAME)
    await world.store.retention.begin([of])
    for minute in range(3):
        await world.store.retention.add_slice(a_slice(of, NOW + timedelta(minutes=minute)))
    first = a_slice(of, NOW)
    await world.store.retention.set_state([first.slice_id], SliceState.UPLOADED)
    query = {"start_time": "2026-03-01T08:00:30Z", "end_time": "2026-03-01T10:02:00+02:00"}
    found = await client.ok("GET", f"{URL}/slices", **query)
    assert (found["total"], [entry["state"] for entry in found["entries"]]) == (2, ["UPLOADED", "PENDING"])
    assert found["entries"][0] == {
        "start_time": "2026-03-01T08:00:00Z",
        "end_time": "2026-03-01T08:01:00Z",
        "state": "UPLOADED",
        "store_type": "OBS",
        "bucket": "obs-momo",
        "path": f"path/to/video/{NAME}/2026/3/1/16/0000_0100.flv",
        "size": 1000,
        "frames": 1500,
        "lost": 0,
        "encode_type": "H264",
    }


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "VIS.0216"),
        ("2026-03-02T00:00:01Z", "2026-03-02T00:00:00Z", "VIS.0216"),
        ("2026-03-01T00:00:00Z", "2026-03-08T00:00:01Z", "VIS.0215"),
        ("yesterday", "2026-03-08T00:00:00Z", "VIS.0005"),
        ("2026-03-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "VIS.0005"),
    ],
)
async def test_wrong_intervals(local: tuple[World, Client], start: str, end: str, code: str) -> None:
    await local[1].ok("PUT", URL, LOCAL)
    await local[1].refused(code, "GET", f"{URL}/slices", start_time=start, end_time=end)


async def test_slices_of_what_was_never_retained(local: tuple[World, Client]) -> None:
    query = {"start_time": "2026-03-01T00:00:00Z", "end_time": "2026-03-08T00:00:00Z"}
    await local[1].refused("VIS.0214", "GET", f"{URL}/slices", **query)
    assert STATUS["VIS.0214"] == 400


async def test_retention_goes_with_its_stream(local: tuple[World, Client]) -> None:
    world, client = local
    await client.ok("PUT", URL, LOCAL)
    await world.lose(IPC, client.project_id)
    await client.ok("DELETE", f"devices/{IPC}")
    assert await world.store.retention.get(client.project_id, NAME) is None


async def test_what_is_being_recorded_now(local: tuple[World, Client]) -> None:
    world, client = local
    url = f"{URL}/current"
    await client.refused("VIS.0214", "GET", url)
    await client.ok("PUT", URL, LOCAL)
    await client.refused("VIS.0214", "GET", url)
    await client.ok("PUT", URL, {"timezone": "GMT+8:00", "state": "ACTIVE"})
    await client.refused("VIS.0211", "GET", url)
    world.recorder.since["default", NAME] = NOW
    assert await client.ok("GET", url) == {"start_time": "2026-03-01T08:00:00Z"}
    await client.refused("VIS.0202", "GET", "streams/nobody/retention/current")


async def test_gaps_of_a_day(local: tuple[World, Client]) -> None:
    """In the retention's zone: 1 March of GMT+8 ends at 16:00 UTC."""
    world, client = local
    url = f"/gb/v1/streams/{NAME}/recordings/gaps"
    assert (await client("GET", url, day="2026-03-01")).status_code == 400
    await client.ok("PUT", URL, LOCAL | {"state": "ACTIVE"})
    stream_id = (await client.ok("GET", f"streams/{NAME}"))["stream_id"]
    of = recording(stream_id=stream_id, name=NAME)
    await world.store.retention.begin([of])
    await world.store.retention.add_slice(a_slice(of, NOW, seconds=3600))
    await world.store.retention.add_slice(a_slice(of, NOW + timedelta(hours=2), seconds=3600, lost=3))
    moments = [(MarkKind.EXPECTED, 0), (MarkKind.FLOWING, 0), (MarkKind.ABSENT, 60), (MarkKind.FLOWING, 120)]
    await world.store.retention.mark(
        [Mark(at=NOW + timedelta(minutes=minute), kind=kind, stream_id=stream_id) for kind, minute in moments]
    )
    world.now = NOW + timedelta(hours=3)
    assert await client.ok("GET", url, day="2026-03-01") == {
        "begin": "2026-02-28T16:00:00Z",
        "end": "2026-03-01T11:00:00Z",
        "missing_seconds": 3600.0,
        "complete": True,
        "gaps": [
            {
                "begin": "2026-03-01T09:00:00Z",
                "end": "2026-03-01T10:00:00Z",
                "cause": "STREAM_ABSENT",
                "detail": "",
                "frames": 0,
            },
            {
                "begin": "2026-03-01T10:00:00Z",
                "end": "2026-03-01T11:00:00Z",
                "cause": "LOST_FRAMES",
                "detail": "",
                "frames": 3,
            },
        ],
    }
    world.now = NOW + timedelta(days=20)
    client.token, _ = await world.accounts.log_in("admin", "Secret-1234", world.now)
    assert not (await client.ok("GET", url, day="2026-03-01"))["complete"]
    assert (await client.ok("GET", url, day="2026-04-01"))["gaps"] == []
    for day in ("0001-01-01", "9999-12-31", "yesterday"):
        assert (await client("GET", url, day=day)).status_code == 400
    assert (await client("GET", "/gb/v1/streams/nobody/recordings/gaps", day="2026-03-01")).status_code == 404
