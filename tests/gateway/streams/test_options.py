"""Options of streams: what counts, who is told, and when."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.accounts.model import Project, User
from gateway.errors import InvalidError, NotFoundError
from gateway.retention.model import RecordingForm
from gateway.scope import Scope
from gateway.store import Store, StreamQuotas
from gateway.streams.option_book import OptionBook
from gateway.streams.options import NOTHING, Form, OwnOptions, Segments, StreamOptions
from media._core import CoreError
from media.relay import Relay
from tests.gateway.media_events import Event
from tests.gateway.store.samples import NOW, PROJECT
from tests.gateway.streams.samples import stream

STREAM = stream(project_id=PROJECT)
SCOPE = Scope(PROJECT)
HLS = RecordingForm.HLS
RTSP = OwnOptions(forms=(Form.RTSP,), viewers_max=3, no_viewers=5.0)


def test_what_was_not_chosen_is_the_default() -> None:
    defaults = StreamOptions(hls_segment=4.0, viewers_max=7)
    assert NOTHING.over(defaults) == defaults
    chosen = OwnOptions(audio=False, viewers_max=0, forms=()).over(defaults)
    assert (chosen.audio, chosen.viewers_max, chosen.forms, chosen.hls_segment) == (False, 0, (), 4.0)


def test_what_is_kept_is_read_also_by_others() -> None:
    chosen = OwnOptions(forms=(Form.HLS,), hls_always=(Segments.TS,), merge_write=0.3, recording_form=HLS)
    assert OwnOptions.read(chosen.kept()) == chosen
    assert OwnOptions.read({"recording_form": "dash"}) == NOTHING
    assert OwnOptions.read({"forms": ["hls", "dash"], "unknown": 1}) == OwnOptions(forms=(Form.HLS,))
    assert NOTHING.kept() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        OwnOptions(hls_segment=0.1),
        OwnOptions(hls_segments=2),
        OwnOptions(gop_bytes_max=-1),
        OwnOptions(merge_write=1.1),
        OwnOptions(no_viewers=-1.0),
    ],
)
def test_what_cannot_be_is_refused(wrong: OwnOptions) -> None:
    with pytest.raises(InvalidError):
        wrong.check()


class World:
    """The book over a real store and a relay that notes what it is told."""

    def __init__(self, store: Store) -> None:
        self.told: list[tuple[int, tuple[Form, ...], int]] = []
        self.maxima: dict[str, int] = {}
        self.live: dict[str, int] = {}
        self.stopped: list[str] = []
        self.stop = asyncio.Event()
        self.told_again = asyncio.Event()
        self.book = OptionBook(store, self, StreamOptions(), stop=self._stop)

    def when_opened(self, told: Any) -> None:
        self.open = told

    def set_options(self, receiver: int, *, forms: Any, no_viewer_ms: int, **_: Any) -> None:
        if receiver == 0:
            raise CoreError("gone")
        self.told.append((receiver, tuple(forms), no_viewer_ms))
        if len(self.told) > 1:
            self.told_again.set()

    def set_viewers_max(self, _app: str, name: str, viewers_max: int) -> None:
        self.maxima[name] = viewers_max

    def stream(self, _app: str, name: str) -> Any:
        return SimpleNamespace(receiver=self.live[name]) if name in self.live else None

    async def _stop(self, _app: str, name: str) -> None:
        self.stopped.append(name)
        self.stop.set()


@pytest.fixture
async def world(database: Store) -> World:
    project = Project(project_id=PROJECT, name="default", created_at=NOW, subscribed_at=None, quotas={})
    user = User(user_id="1" * 32, name="admin", project_id=PROJECT, created_at=NOW)
    assert await database.accounts.first_start(project, user, "hash")
    await database.streams.add(STREAM, quotas=StreamQuotas(total=9, active=9))
    return World(database)


async def test_streams_are_told_when_they_open_and_while_they_flow(world: World) -> None:
    world.open("default", STREAM.name, 1)
    assert world.told == [(1, tuple(Form), 0)]
    world.live = {STREAM.name: 1, f"{STREAM.name}~aac": 2}
    view = await world.book.put(SCOPE, STREAM.name, RTSP, NOW)
    assert (view.own, view.effective.forms, view.effective.audio) == (RTSP, (Form.RTSP,), True)
    assert world.told[1:] == [(1, (Form.RTSP,), 5000), (2, (Form.RTSP,), 5000)], "its sibling, too"
    assert world.maxima == {STREAM.name: 3, f"{STREAM.name}~aac": 3}
    assert not world.book.allows("default", f"{STREAM.name}~aac", Form.WEBRTC)
    world.open("default", STREAM.name, 3)
    world.open("default", "other", 4)
    world.open("default", STREAM.name, 0)
    assert world.told[3:] == [(3, (Form.RTSP,), 5000), (4, tuple(Form), 0)]
    assert (await world.book.put(SCOPE, STREAM.name, NOTHING, NOW)).effective == StreamOptions()
    with pytest.raises(NotFoundError):
        await world.book.put(SCOPE, "unknown", RTSP, NOW)
    with pytest.raises(InvalidError):
        await world.book.put(SCOPE, STREAM.name, OwnOptions(hls_segments=1), NOW)


async def test_what_was_chosen_outlives_a_restart(world: World, database: Store) -> None:
    await world.book.put(SCOPE, STREAM.name, RTSP, NOW)
    again = World(database)
    await again.book.load()
    again.open("default", STREAM.name, 1)
    assert again.told == [(1, (Form.RTSP,), 5000)]
    assert (await again.book.get(SCOPE, STREAM.name)).own == RTSP


async def test_what_a_stream_is_recorded_as(world: World, database: Store) -> None:
    assert world.book.recording_form("default", STREAM.name) is RecordingForm.AUTO
    await world.book.put(SCOPE, STREAM.name, OwnOptions(recording_form=HLS), NOW)
    assert world.book.recording_form("default", STREAM.name) is HLS
    again = OptionBook(database, world, StreamOptions(recording_form=RecordingForm.FLV), stop=world._stop)
    await again.load()
    assert [again.recording_form("default", name) for name in (STREAM.name, "other")] == [HLS, RecordingForm.FLV]
    await again.put(SCOPE, STREAM.name, NOTHING, NOW)
    assert again.recording_form("default", STREAM.name) is RecordingForm.FLV


async def test_a_new_stream_of_a_deleted_one_s_name_has_no_options(world: World, database: Store) -> None:
    await world.book.put(SCOPE, STREAM.name, RTSP, NOW)
    await database.streams.delete(STREAM.stream_id)
    task = asyncio.create_task(world.book.run())
    try:
        world.open("default", STREAM.name, 1)
        async with asyncio.timeout(10):
            await world.told_again.wait()
        assert world.told == [(1, (Form.RTSP,), 5000), (1, tuple(Form), 0)]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_stream_that_nobody_watches_is_let_go_only_where_that_was_chosen(world: World) -> None:
    await world.book.put(SCOPE, STREAM.name, RTSP, NOW)
    task = asyncio.create_task(world.book.run())
    try:
        for kind, name in (("no_viewers", "other"), ("silent", STREAM.name), ("no_viewers", STREAM.name)):
            world.book.handle_media(Event(kind, app="default", name=name))
        async with asyncio.timeout(10):
            await world.stop.wait()
        assert world.stopped == [STREAM.name]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_relay_itself_takes_them(database: Store) -> None:
    async with Relay(play_key=b"k", rtp_host="127.0.0.1", threads=1) as relay:
        book = OptionBook(database, relay, StreamOptions(forms=(Form.HLS,)), stop=lambda app, name: asyncio.sleep(0))
        feed = relay.open_feed("default", "cam", transport="derived", private=False)
        with pytest.raises(CoreError, match="not given out"):
            relay.subscribe(feed.id, protocol="whep")
        assert not book.allows("default", "cam", Form.WEBRTC)
        relay.set_options(feed.id, forms=["webrtc"])
        relay.subscribe(feed.id, protocol="whep").close()
        with pytest.raises(CoreError, match="dash"):
            relay.set_options(feed.id, forms=["dash"])
