"""Calls and events in the database."""

from datetime import timedelta

from gateway.devices.model import ChannelId, DeviceId, MediaTransport, SavedCall, StateCause, StateEvent
from gateway.store import Store
from tests.gateway.store.samples import NOW, PROJECT

CAMERA, CHANNEL = DeviceId("34020000001320000001"), ChannelId("34020000001310000001")


def call(call_id: str, cseq: int = 1) -> SavedCall:
    return SavedCall(
        call_id=call_id,
        device_id=CAMERA,
        channel_id=CHANNEL,
        dialog={"local_tag": "1", "cseq": cseq, "routes": ["<sip:192.0.2.1;lr>"]},
        ssrc=4_294_967_295,
        media_port=30000,
        media_transport=MediaTransport.TCP_PASSIVE,
        started_at=NOW,
    )


async def test_calls_are_kept_until_they_end(store: Store) -> None:
    await store.calls.save(call("a"))
    await store.calls.save(call("b"))
    await store.calls.save(call("a", cseq=2))
    assert [found async for found in store.calls.load()] == [call("a", cseq=2), call("b")]
    assert list(await store.calls.of_channel(CAMERA, CHANNEL)) == [call("a", cseq=2), call("b")]
    await store.calls.delete("a")
    await store.calls.delete("unknown")
    assert [found async for found in store.calls.load()] == [call("b")]


async def test_history_is_read_backwards_from_any_place(store: Store) -> None:
    events = [
        StateEvent(
            at=NOW + timedelta(seconds=number),
            project_id=PROJECT,
            device_id=CAMERA,
            channel_id=CHANNEL if number % 2 else None,
            before="ONLINE",
            after="OFFLINE",
            cause=StateCause.KEEPALIVE_LOST,
            detail=f"missed {number}\x00",
        )
        for number in range(10)
    ]
    await store.events.append(events)
    found = await store.events.history(CAMERA, limit=4)
    assert [event.detail for _, event in found] == ["missed 9", "missed 8", "missed 7", "missed 6"]
    rest = await store.events.history(CAMERA, before=found[-1][0])
    assert [event.detail for _, event in rest] == [f"missed {number}" for number in range(5, -1, -1)]
    assert len(await store.events.history(CAMERA, channel_id=CHANNEL)) == 5
    assert len(await store.events.history(CAMERA, since=NOW + timedelta(seconds=7))) == 3
    assert await store.events.history(DeviceId("other")) == []
