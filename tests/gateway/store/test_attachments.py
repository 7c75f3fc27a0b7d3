"""What hangs on a stream and goes with it: pushes, inputs, options."""

from dataclasses import replace

import pytest

from gateway.errors import NotFoundError, QuotaError
from gateway.pushes.model import PushRecord
from gateway.store import Store, StreamQuotas
from gateway.streams.inputs import BackupType, Input
from gateway.streams.options import NOTHING, Form, OwnOptions, Segments
from tests.gateway.store.samples import NOW, PROJECT
from tests.gateway.streams.samples import stream

MANY = StreamQuotas(total=100, active=100)
STREAM = stream(project_id=PROJECT)
ID = STREAM.stream_id
CHOSEN = OwnOptions(
    forms=(Form.FLV, Form.LL_HLS), audio=False, no_viewers=2.5, hls_always=(Segments.LL,), gop_bytes_max=0
)


@pytest.fixture(autouse=True)
async def _stream(store: Store) -> None:
    await store.streams.add(STREAM, quotas=MANY)


def push(push_id: str) -> PushRecord:
    return PushRecord(
        push_id=push_id,
        stream_id=ID,
        app="default",
        stream_name=STREAM.name,
        url="rtmp://live.example/app/a-secret-key",
        created_at=NOW,
    )


async def test_pushes_come_back_as_they_were_and_are_bounded(store: Store) -> None:
    first, second = push("push-1"), push("push-2")
    await store.pushes.add(first, most=2)
    await store.pushes.add(second, most=2)
    with pytest.raises(QuotaError):
        await store.pushes.add(push("push-3"), most=2)
    with pytest.raises(NotFoundError):
        await store.pushes.add(replace(push("push-3"), stream_id="gone"), most=2)
    assert list(await store.pushes.of(ID)) == list(await store.pushes.every()) == [first, second]
    with pytest.raises(NotFoundError):
        await store.pushes.delete("gone", first.push_id)
    await store.pushes.delete(ID, first.push_id)
    assert list(await store.pushes.of(ID)) == [second]


async def test_inputs_are_replaced_as_a_whole_and_keep_their_order(store: Store) -> None:
    first = Input(2, "rtsp://me:secret@camera.example/2", BackupType.ACTIVE)
    second = Input(3, "https://camera.example/3", BackupType.DISABLED)
    await store.inputs.put(ID, [second, first])
    assert await store.inputs.of(ID) == [first, second]
    other = Input(2, "http://camera.example/", BackupType.PASSIVE)
    await store.inputs.put(ID, [other])
    assert await store.inputs.of(ID) == [other]
    await store.inputs.put(ID, [])
    assert await store.inputs.of(ID) == []


async def test_options_come_back_as_they_were(store: Store) -> None:
    assert (await store.options.of(ID), await store.options.find("default", STREAM.name)) == (None, None)
    await store.options.put(ID, CHOSEN, NOW)
    assert await store.options.of(ID) == await store.options.find("default", STREAM.name) == CHOSEN
    assert [one async for one in store.options.every()] == [("default", STREAM.name, CHOSEN)]
    await store.options.put(ID, NOTHING, NOW)
    assert [one async for one in store.options.every()] == []
    with pytest.raises(NotFoundError):
        await store.options.put("gone", CHOSEN, NOW)


async def test_all_of_them_go_with_their_stream(store: Store) -> None:
    await store.pushes.add(push("push-1"), most=2)
    await store.inputs.put(ID, [Input(2, "http://camera.example/", BackupType.PASSIVE)])
    await store.options.put(ID, CHOSEN, NOW)
    assert await store.streams.delete(ID)
    assert (list(await store.pushes.every()), await store.inputs.of(ID), await store.options.of(ID)) == ([], [], None)
