"""Slices in a local directory."""

import errno
import os
from pathlib import Path

import pytest

from gateway.retention.errors import BucketUnreachableError
from gateway.retention.local import LocalDirectory
from gateway.retention.places import Outcome
from tests.gateway.retention.samples import a_slice


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1-2.flv"
    path.write_bytes(b"slice")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "project"


@pytest.fixture(params=["one file system", "two"])
def systems(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, file: Path) -> str:
    """With two, the spool's files cannot be linked."""
    link = os.link

    def elsewhere(source: Path, target: Path) -> None:
        if source == file:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    if request.param == "two":
        monkeypatch.setattr(os, "link", elsewhere)
    return str(request.param)


async def test_a_slice_is_stored_once(systems: str, root: Path, file: Path) -> None:
    found, place = a_slice(size_bytes=5), LocalDirectory(root)
    assert await place.put(found, file) is Outcome.STORED
    assert await place.put(found, file) is Outcome.STORED, "again, as after a crash"
    assert [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()] == [found.key]
    assert (root / found.key).read_bytes() == b"slice"
    assert file.exists(), "the spool lets go of it when that is written down"


async def test_nothing_is_stored_in_place_of_another(systems: str, root: Path, file: Path) -> None:
    found = a_slice(size_bytes=5)
    target = root / found.key
    target.parent.mkdir(parents=True)
    target.write_bytes(b"other")
    assert await LocalDirectory(root).put(found, file) is Outcome.TAKEN
    assert target.read_bytes() == b"other"
    assert len(list(target.parent.iterdir())) == 1


async def test_empty_directories_go_with_what_was_in_them(root: Path, file: Path) -> None:
    found, place = a_slice(size_bytes=5), LocalDirectory(root)
    await place.put(found, file)
    stranger = root / "path" / "notes.txt"
    stranger.write_text("mine")
    await place.delete([found.key, "path/to/video/streamName/2018/8/18/18/0200_0300.flv"])
    assert [path.relative_to(root).as_posix() for path in root.rglob("*")] == ["path", "path/notes.txt"]
    await place.delete([found.key])


async def test_a_probe_leaves_no_file(root: Path) -> None:
    await LocalDirectory(root).probe("path/")
    assert not [path for path in root.rglob("*") if path.is_file()]


async def test_a_root_that_cannot_be(tmp_path: Path, file: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(BucketUnreachableError):
        await LocalDirectory(tmp_path / "kept" / "project").probe("")
    with pytest.raises(BucketUnreachableError):
        await LocalDirectory(tmp_path / "kept" / "project").put(a_slice(), file)
