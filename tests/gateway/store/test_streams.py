"""Streams made by hand and their keys in the database."""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.accounts.model import Project
from gateway.errors import ConflictError, NotFoundError, QuotaError
from gateway.scope import Scope
from gateway.store import Store, StreamFilter, StreamQuotas
from gateway.streams.model import AccessType, StreamEvent, StreamRecord, StreamState, Tag
from tests.gateway.store.samples import NOW, PROJECT
from tests.gateway.store.stream_writer import QUOTAS
from tests.gateway.streams.samples import KEY, stream

ROOT = Path(__file__).parents[3]
MANY = StreamQuotas(total=100, active=100)


async def test_a_stream_comes_back_as_it_was(store: Store) -> None:
    key = replace(KEY, project_id=PROJECT)
    await store.push_keys.add(key, quota=1)
    pushed = stream(project_id=PROJECT, access_key=key.access_key, tags=(Tag("组", ""), Tag("a", "b.c")))
    pulled = stream(
        project_id=PROJECT,
        stream_id="stream-2",
        name="stream2",
        access_type=AccessType.HTTP_FLV,
        url="https://user:secret@camera.example/live",
    )
    for one in (pushed, pulled):
        await store.streams.add(one, quotas=MANY)
        assert await store.streams.get(Scope(PROJECT), one.name) == one
        assert await store.streams.own(one.name) == one
        assert await store.streams.find("default", one.name) == one
    assert [one async for one in store.streams.active(AccessType.HTTP_FLV)] == [("default", "stream2")]
    listing = await store.streams.list(Scope(PROJECT), StreamFilter(), None)
    assert set(listing.entries) == {pushed, pulled}


async def test_what_is_secret_is_not_in_the_file(store: Store, url: str, tmp_path: Path) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("looks into SQLite's files")
    await store.push_keys.add(replace(KEY, project_id=PROJECT), quota=1)
    secret = "https://user:very-secret@camera.example/live"
    await store.streams.add(stream(project_id=PROJECT, url=secret, access_type=AccessType.HTTP_FLV), quotas=MANY)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("gateway.db*"))
    assert KEY.access_key.encode() in kept
    assert b"very-secret" not in kept
    assert KEY.secret_key.encode() not in kept


async def test_a_name_is_taken_once_in_all_projects(store: Store) -> None:
    other = Project(project_id="b" * 32, name="other", created_at=NOW, subscribed_at=None, quotas={})
    await store.accounts.add_project(other)
    await store.streams.add(stream(project_id=PROJECT), quotas=MANY)
    for project in (PROJECT, other.project_id):
        with pytest.raises(ConflictError):
            await store.streams.add(stream(project_id=project, stream_id="another"), quotas=MANY)
    with pytest.raises(NotFoundError, match="access key"):
        await store.streams.add(
            stream(project_id=PROJECT, name="s2", stream_id="s2", access_key="UNKNOWN"), quotas=MANY
        )


async def test_a_key_of_another_project_is_unknown(store: Store) -> None:
    other = Project(project_id="b" * 32, name="other", created_at=NOW, subscribed_at=None, quotas={})
    await store.accounts.add_project(other)
    await store.push_keys.add(replace(KEY, project_id=other.project_id), quota=1)
    with pytest.raises(NotFoundError, match="access key"):
        await store.streams.add(stream(project_id=PROJECT, access_key=KEY.access_key), quotas=MANY)
    assert await store.push_keys.get(PROJECT, KEY.access_key) is None
    for change in (
        store.push_keys.delete(PROJECT, KEY.access_key),
        store.push_keys.update(PROJECT, KEY.access_key, at=NOW, name="x", description=None),
    ):
        with pytest.raises(NotFoundError):
            await change


async def test_a_key_in_use_stays(store: Store) -> None:
    await store.push_keys.add(replace(KEY, project_id=PROJECT), quota=1)
    with pytest.raises(QuotaError):
        await store.push_keys.add(replace(KEY, project_id=PROJECT, access_key="B", name="b"), quota=1)
    with pytest.raises(ConflictError):
        await store.push_keys.add(replace(KEY, project_id=PROJECT, access_key="B"), quota=2)
    await store.streams.add(stream(project_id=PROJECT, access_key=KEY.access_key), quotas=MANY)
    with pytest.raises(ConflictError):
        await store.push_keys.delete(PROJECT, KEY.access_key)
    await store.streams.delete("stream-12345678")
    await store.push_keys.delete(PROJECT, KEY.access_key)
    assert await store.push_keys.count(PROJECT) == 0


async def test_a_change_that_is_refused_changes_nothing(store: Store) -> None:
    before = stream(project_id=PROJECT, state=StreamState.STOPPED)
    await store.streams.add(before, quotas=MANY)

    def refuse(_: StreamRecord) -> StreamRecord:
        raise ConflictError("no")

    with pytest.raises(ConflictError, match="no"):
        await store.streams.update(PROJECT, before.name, refuse, quotas=MANY)
    with pytest.raises(QuotaError):
        await store.streams.update(
            PROJECT, before.name, lambda s: replace(s, state=StreamState.ACTIVE), quotas=StreamQuotas(9, 0)
        )
    with pytest.raises(NotFoundError):
        await store.streams.update(PROJECT, "unknown", lambda s: s, quotas=MANY)
    assert await store.streams.get(Scope(PROJECT), before.name) == before


async def test_generations_count_up(store: Store) -> None:
    await store.streams.add(stream(project_id=PROJECT), quotas=MANY)
    later = NOW + timedelta(minutes=1)
    assert [await store.streams.next_generation("stream-12345678", later) for _ in range(3)] == [1, 2, 3]
    assert await store.streams.next_generation("unknown", later) is None
    found = await store.streams.get(Scope(PROJECT), "stream1")
    assert found is not None
    assert (found.generation, found.updated_at) == (3, later)


async def test_history_is_read_backwards_and_outlives_the_stream(store: Store) -> None:
    def event(number: int, name: str = "stream1") -> StreamEvent:
        return StreamEvent(
            at=NOW + timedelta(seconds=number),
            project_id=PROJECT,
            stream_name=name,
            before="BROKEN",
            after="CONNECTED",
            cause="CONNECTED",
            detail=f"{number}",
            reason_code="ended",
        )

    await store.stream_events.append([event(number) for number in range(5)])
    await store.stream_events.append([event(9, "other"), replace(event(10), project_id="b" * 32)])
    newest = await store.stream_events.history(PROJECT, "stream1", limit=2)
    assert [found for _, found in newest] == [event(4), event(3)]
    rest = await store.stream_events.history(PROJECT, "stream1", before=newest[-1][0])
    assert [found for _, found in rest] == [event(2), event(1), event(0)]


async def test_quotas_hold_and_what_is_used_is_right_after_kill_9(url: str, tmp_path: Path, store: Store) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.gateway.store.stream_writer",
        url,
        str(tmp_path / "secret.key"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told = [await process.stdout.readline() for _ in range(500)]
    process.kill()
    told += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    words = [line.decode().split() for line in told if line.endswith(b"\n")]
    assert ["full", "active_stream"] in words
    total, active = await store.streams.count(PROJECT)
    assert total <= QUOTAS.total
    assert active == QUOTAS.active
    listing = await store.streams.list(Scope(PROJECT), StreamFilter(), None)
    assert (len(listing.entries), sum(one.state is StreamState.ACTIVE for one in listing.entries)) == (total, active)
    started = {name for what, name in words if what == "started"}
    assert len(started) <= active
    assert started <= {one.name for one in listing.entries if one.state is StreamState.ACTIVE}
    with pytest.raises(QuotaError):  # one more is one too many, also for who comes after
        await store.streams.update(
            PROJECT,
            next(one.name for one in listing.entries if one.state is StreamState.STOPPED),
            lambda one: replace(one, state=StreamState.ACTIVE),
            quotas=QUOTAS,
        )
