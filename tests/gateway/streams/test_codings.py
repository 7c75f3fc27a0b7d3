"""The coding of a stream outlives its flow."""

import asyncio
from datetime import UTC, datetime

import pytest

from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.devices.model import CatalogueEntry, DeviceId, DeviceType
from gateway.errors import UnavailableError
from gateway.scope import Scope
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import NewDevices, Store
from gateway.streams import codings
from gateway.streams.codings import Codings
from tests.gateway.media_events import Event
from tests.gateway.store.samples import credential

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def told(name: str, kind: str = "tracks", **detail: str) -> Event:
    return Event(kind, app="default", name=name, detail=detail)


async def test_the_coding_is_kept_and_tried_again(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codings, "WRITE_BEHIND_SECONDS", 0.001)
    first = await Accounts(database, Quotas(DEFAULT_QUOTAS)).first_start(NOW, name="admin", password="Secret-1234")
    assert first is not None
    project_id = first.project.project_id
    given = credential("0100")
    await database.credentials.add(
        type(given)(**{name: getattr(given, name) for name in given.__slots__} | {"project_id": project_id}), quota=1
    )
    new = NewDevices(project_id=project_id, type=DeviceType.IPC, credential="0100", suffix="", description="", at=NOW)
    await database.devices.add(new, [DeviceId("camera")], quota=1)
    entry = CatalogueEntry(node_id="1", name="", video=True, reported_on=True)
    change = await database.channels.upsert_catalogue(DeviceId("camera"), [entry], complete=True, at=NOW)
    name = change.added[0].stream_name
    write, failures = database.streams.set_encode_types, [UnavailableError("away")]
    written = asyncio.Event()

    async def fail_once(*given: object) -> None:
        if failures:
            raise failures.pop()
        await write(*given)  # type: ignore[arg-type]
        written.set()

    monkeypatch.setattr(database.streams, "set_encode_types", fail_once)
    kept = Codings(database, lambda: NOW)
    task = asyncio.create_task(kept.run())
    kept.handle_media(told(name, "first_packet"))
    kept.handle_media(told(name, audio="PCMA"))
    kept.handle_media(told(name, video="H265"))
    async with asyncio.timeout(20):
        await written.wait()
    stream = await database.streams.get(Scope(project_id), name)
    assert stream is not None
    assert stream.encode_type == "H265"
    task.cancel()
