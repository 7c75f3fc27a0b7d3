"""Slices in a bucket of a real S3 server, also when the way there breaks."""

from pathlib import Path

import obstore
import pytest

from gateway.retention.buckets import PART_BYTES, Bucket
from gateway.retention.depot import Depot
from gateway.retention.errors import (
    BucketDeniedError,
    BucketReadError,
    BucketRightsError,
    BucketUnreachableError,
    NoBucketError,
    NoStorageError,
    NotAuthorisedError,
)
from gateway.retention.local import LocalDirectory
from gateway.retention.model import StoreType
from gateway.retention.places import Outcome
from tests import s3
from tests.gateway.retention.samples import PROJECT, a_slice

SMALL = bytes(range(256)) * 40
LARGE = bytes(range(256)) * (PART_BYTES // 256 * 2 + 7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1-2.flv"
    path.write_bytes(SMALL)
    return path


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "in parts"])
async def test_a_slice_is_stored_once(s3_server: s3.Server, bucket: str, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    found, place = a_slice(size_bytes=len(content)), Bucket(s3_server.storage(), bucket)
    assert await place.put(found, file) is Outcome.STORED
    assert await s3_server.objects(bucket) == {found.key: content}
    head = await obstore.get_async(s3_server.bucket(bucket), found.key)
    assert head.attributes["Content-Type"] == "video/x-flv"
    assert await place.put(found, file) is Outcome.STORED, "again, as after a crash"
    assert (await obstore.head_async(s3_server.bucket(bucket), found.key))["last_modified"] == head.meta[
        "last_modified"
    ]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "in parts"])
async def test_nothing_is_stored_in_place_of_another(
    s3_server: s3.Server, bucket: str, file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    found = a_slice(size_bytes=len(content))
    await obstore.put_async(s3_server.bucket(bucket), found.key, b"a stranger's")
    assert await Bucket(s3_server.storage(), bucket).put(found, file) is Outcome.TAKEN
    assert await s3_server.objects(bucket) == {found.key: b"a stranger's"}


async def test_a_file_that_is_gone_is_told(s3_server: s3.Server, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Bucket(s3_server.storage(), bucket).put(a_slice(), tmp_path / "nothing")


async def test_objects_are_deleted_whether_they_are_there_or_not(s3_server: s3.Server, bucket: str) -> None:
    store = s3_server.bucket(bucket)
    for key in ("a/1", "a/2", "b"):
        await obstore.put_async(store, key, b"x")
    await Bucket(s3_server.storage(), bucket).delete(["a/1", "a/2", "a/3"])
    assert await s3_server.objects(bucket) == {"b": b"x"}


async def test_a_probe_leaves_nothing(s3_server: s3.Server, bucket: str) -> None:
    await Bucket(s3_server.storage(), bucket).probe("path/to/")
    assert await s3_server.objects(bucket) == {}


async def test_what_is_wrong_with_a_bucket(
    s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], file: Path
) -> None:
    port, faults = broken
    place = Bucket(s3_server.storage(port), bucket)
    await place.probe("")
    faults.answer = (403, s3.DENIED)
    with pytest.raises(BucketDeniedError):
        await place.probe("")
    faults.answer = (403, s3.BAD_KEY)
    with pytest.raises(NotAuthorisedError):
        await place.probe("")
    faults.answer = (503, s3.SLOW_DOWN)
    with pytest.raises(BucketUnreachableError):
        await place.put(a_slice(size_bytes=len(SMALL)), file)
    faults.heal()
    faults.away()
    with pytest.raises(BucketUnreachableError):
        await place.probe("")
    faults.heal()
    faults.deny = ("HEAD",)
    with pytest.raises(BucketReadError, match="may not be read"):
        await place.probe("")
    faults.deny = ("DELETE", "POST")
    with pytest.raises(BucketRightsError, match="may not be deleted from"):
        await place.probe("")
    faults.heal()
    with pytest.raises(NoBucketError, match="no bucket"):
        await Bucket(s3_server.storage(), "not-there").probe("")


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "in parts"])
async def test_an_upload_whose_answer_was_lost_is_known_again(
    s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], file: Path, content: bytes
) -> None:
    port, faults = broken
    file.write_bytes(content)
    found, place = a_slice(size_bytes=len(content)), Bucket(s3_server.storage(port), bucket)
    faults.lose_answers = True
    with pytest.raises(BucketUnreachableError):
        await place.put(found, file)
    faults.heal()
    assert await place.put(found, file) is Outcome.STORED
    assert await s3_server.objects(bucket) == {found.key: content}


async def test_an_upload_cut_in_the_middle_leaves_nothing_half(
    s3_server: s3.Server, bucket: str, broken: tuple[int, s3.Faults], file: Path
) -> None:
    port, faults = broken
    file.write_bytes(LARGE)
    found, place = a_slice(size_bytes=len(LARGE)), Bucket(s3_server.storage(port), bucket)
    faults.cut_after = 3_000_000
    with pytest.raises(BucketUnreachableError):
        await place.put(found, file)
    assert await s3_server.objects(bucket) == {}
    faults.heal()
    assert await place.put(found, file) is Outcome.STORED
    assert await s3_server.objects(bucket) == {found.key: LARGE}


def test_without_an_object_storage_there_is_no_bucket(tmp_path: Path) -> None:
    depot = Depot(None, tmp_path)
    with pytest.raises(NoStorageError):
        depot.at("OBS/obs-momo")
    assert isinstance(depot.place(StoreType.LOCAL, "", PROJECT), LocalDirectory)
