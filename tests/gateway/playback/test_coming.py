"""Slices that come slowly from a bucket while they are played: seeks, several who play, slices that vanish, ends."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.errors import NotFoundError, UnavailableError
from gateway.playback import arrival as arrivals
from gateway.playback import leader as leaders
from gateway.playback.arrival import HEAD_BYTES, Arrival
from gateway.playback.leader import Leader
from gateway.playback.library import Library
from gateway.playback.sources import InPlace
from gateway.retention.model import Slice, SliceState
from gateway.retention.places import Place
from tests.gateway.retention.samples import NOW, a_slice

KIB = 1024
SIZE = 8 * 1024 * KIB
SECONDS = 64
"""A key frame each second and 128 KiB."""
START = round(NOW.timestamp() * 1000)


@dataclass
class SlowPlace:
    """A bucket that answers what it is let answer."""

    open: Callable[[str, int], bool] = lambda key, first: True
    """Whether a range of an object is answered yet."""
    deleted: Callable[[str, int], bool] = lambda key, first: False
    reads: list[tuple[str, int]] = field(default_factory=list)

    def file(self, key: str) -> Path | None:
        return None

    async def size(self, key: str) -> int:
        return SIZE

    async def read(self, key: str, first: int, behind: int) -> bytes:
        self.reads.append((key, first))
        await until(lambda: self.open(key, first))
        if self.deleted(key, first):
            raise FileNotFoundError(key)
        return b"x" * (behind - first)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> SlowPlace:
    entries = [(second * 1000, second * 128 * KIB) for second in range(SECONDS)]
    monkeypatch.setattr(arrivals, "file_facts", lambda _: SimpleNamespace(entries=entries))
    monkeypatch.setattr(leaders, "TICK", 0.005)
    return SlowPlace()


@pytest.fixture
def library(place: SlowPlace, tmp_path: Path) -> Library:
    return Library(lambda _: cast(Place, place), lambda _: tmp_path / "none", tmp_path / "cache")


def slices(count: int) -> list[Slice]:
    step = timedelta(seconds=SECONDS)
    return [a_slice(None, NOW + n * step, SECONDS, state=SliceState.UPLOADED) for n in range(count)]


def at(number: int, second: int = 0) -> int:
    return START + (number * SECONDS + second) * 1000


class Ticks:
    """How often a leader looked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    async def some(self) -> None:
        behind = self.count + 8
        await until(lambda: self.count >= behind)


@asynccontextmanager
async def playing(library: Library, found: list[Slice]) -> AsyncIterator[tuple[Leader, Ticks]]:
    """It stands still at the beginning of the first."""
    leader, ticks = Leader(library, found, now=asyncio.get_running_loop().time), Ticks()
    async with asyncio.timeout(20):
        await leader.fetch(at(0))
    leader.told(at(0), 1.0, moves=False)
    task = asyncio.create_task(leader.run(ticks))
    try:
        yield leader, ticks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await leader.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if true():
                return
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("to", [0, 6])
async def test_a_seek_far_away_ends_though_it_plays_on_meanwhile(place: SlowPlace, library: Library, to: int) -> None:
    found = slices(8)
    opened = False
    spared: list[bool] = []
    key = found[to].key
    async with playing(library, found) as (leader, ticks):
        if to == 0:
            async with asyncio.timeout(20):
                await leader.fetch(at(5))
            leader.told(at(5), 1.0, moves=False)
            await ticks.some()
        place.open = lambda one, first: opened or one != key or first == 0
        seek = asyncio.create_task(leader.fetch(at(to, 30)))
        if to:
            await until(lambda: any(one == key and first for one, first in place.reads))
            (waiting,) = leader._fetches
            waiting.add_done_callback(lambda _: spared.append(to in leader._spared))
        await ticks.some()
        opened = True
        async with asyncio.timeout(20):
            await seek
        assert all(spared), "whoever looks next does not let it go"
        await ticks.some()
        async with library.held(found[to]) as arrival:
            assert arrival is not None and arrival.playable_ms(30_000) >= 1500, "it is kept until it goes there"


async def test_a_playback_that_ends_tells_a_seek_that_waits(place: SlowPlace, library: Library) -> None:
    found = slices(8)
    async with playing(library, found) as (leader, ticks):
        place.open = lambda key, first: first == 0
        seek = asyncio.create_task(leader.fetch(at(6, 30)))
        await until(lambda: any(key == found[6].key and first for key, first in place.reads))
        await ticks.some()
        await leader.close()
        async with asyncio.timeout(20):
            with pytest.raises(NotFoundError):
                await seek


async def test_who_waits_for_a_slice_is_told_when_it_is_closed(place: SlowPlace, tmp_path: Path) -> None:
    arrival = Arrival(InPlace(cast(Place, place), "key", SIZE), tmp_path / "1.flv", asyncio.Semaphore(1))
    place.open = lambda _, first: first == 0
    await arrival.begin()
    waiting = asyncio.create_task(arrival.reach(30_000, 1500))
    await until(lambda: len(place.reads) > 1)
    await arrival.close()
    async with asyncio.timeout(20):
        with pytest.raises(UnavailableError):
            await waiting
    assert not list(tmp_path.iterdir())


async def test_the_one_who_has_the_least_to_play_is_served_first(place: SlowPlace, tmp_path: Path) -> None:
    arrival = Arrival(InPlace(cast(Place, place), "key", SIZE), tmp_path / "1.flv", asyncio.Semaphore(1))
    opened = False
    place.open = lambda _, first: first == 0 or opened
    try:
        await arrival.begin()
        first, second = object(), object()
        arrival.want(first, 16_000)
        arrival.want(second, 40_000)
        opened = True
        async with asyncio.timeout(20):
            while min(arrival.playable_ms(16_000), arrival.playable_ms(40_000)) < 8000:
                arrival.want(first, 16_000)  # again and again, as who plays there does
                await asyncio.sleep(0)
        played = [byte // (128 * KIB) for _, byte in place.reads[2:]]
        one, other = (sum(low <= second < low + 16 for second in played[:6]) for low in (16, 40))
        assert one >= 2 and other >= 2, played
    finally:
        await arrival.close()


async def test_a_slice_whose_head_comes_is_not_taken_for_whole(place: SlowPlace, library: Library) -> None:
    place.open = lambda _, first: bool(place.reads[1:])
    (found,) = slices(1)

    async def hold() -> None:
        async with library.held(found):
            pass

    holding = asyncio.create_task(hold())
    await until(lambda: bool(place.reads))
    async with library.source(found) as source:
        assert await source.read(1000, 1010) == b"x" * 10
    await holding


async def test_a_slice_that_was_deleted_is_jumped_over(place: SlowPlace, library: Library) -> None:
    found = slices(4)
    place.deleted = lambda key, first: first > 0 and key in {found[0].key, found[1].key}
    async with playing(library, found) as (leader, ticks):
        assert library._arrivals[await library.path(found[2])].playable_ms(0) >= 1500
        listed = (await library.path(found[0])).with_suffix(".flv.there").read_text()
        assert listed == f"0-{HEAD_BYTES}\ngone\n"
        await until(lambda: not leader.held_up)
        await ticks.some()
        assert not leader.held_up and not leader.waiting


async def test_a_slice_that_is_deleted_while_it_is_played_holds_nothing_up(place: SlowPlace, library: Library) -> None:
    found = slices(2)
    deleted = False
    place.deleted = lambda key, first: deleted and key == found[0].key
    place.open = lambda key, first: deleted or key != found[0].key or first < 1024 * KIB
    async with playing(library, found) as (leader, _):
        path = await library.path(found[0])
        await until(lambda: library._arrivals[path].playable_ms(0) >= 4000)
        leader.told(at(0, 7), 1.0, moves=False)
        assert leader.held_up
        deleted = True
        await until(lambda: not leader.held_up)


async def test_nothing_is_left_behind_by_who_is_cancelled_twice(
    place: SlowPlace, library: Library, tmp_path: Path
) -> None:
    place.open = lambda _, first: first == 0
    (found,) = slices(1)
    stack = AsyncExitStack()
    arrival = await stack.enter_async_context(library.held(found))
    assert arrival is not None
    async with library._turns[await library.path(found)]:
        closing = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.sleep(0.01)
    with suppress(asyncio.CancelledError):
        await closing
    assert arrival._file < 0
    assert not list((tmp_path / "cache").iterdir())


async def test_a_list_that_nobody_deleted_goes_with_a_whole_file(place: SlowPlace, tmp_path: Path) -> None:
    target = tmp_path / "1.flv"
    arrival = Arrival(InPlace(cast(Place, place), "key", SIZE), target, asyncio.Semaphore(1))
    await arrival.begin()
    await until(lambda: arrival.whole)
    assert arrival._task is not None
    await arrival._task
    target.with_name("1.flv.there").write_text("0-10\n")
    await arrival.close()
    assert [one.name for one in tmp_path.iterdir()] == ["1.flv"]


async def test_slices_begun_at_once_stay_within_the_bound_and_one_that_makes_room_can_be_needed_again(
    place: SlowPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    library = Library(
        lambda _: cast(Place, place), lambda _: tmp_path / "none", cache, cache_bytes_max=2 * SIZE + SIZE // 2
    )
    old, second, *new = slices(5)
    for found in (old, second):
        async with library.held(found) as arrival:
            assert arrival is not None
            await until(lambda arrival=arrival: arrival.whole)
    deleted, most = await library.path(old), 0
    unlink = Path.unlink

    def slowly(path: Path, missing_ok: bool = False) -> None:
        if path.parent == cache and path.suffix not in {".there", ".fresh"}:
            time.sleep(0.2)  # a large file on a busy disk
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slowly)

    async def need(found: Slice) -> bool:
        nonlocal most
        try:
            async with library.held(found) as arrival:
                files = [one for one in cache.iterdir() if one.suffix not in {".there", ".fresh"}]
                most = max(most, len(files))
                if arrival is not None:
                    await until(lambda: arrival.whole)
                return (await library.path(found)).stat().st_size == SIZE
        except UnavailableError:
            return False

    first = asyncio.create_task(need(new[0]))
    await asyncio.sleep(0.05)  # it makes room
    again = await asyncio.gather(first, need(old))
    assert again == [True, True], "what was needed again is there, whole"
    assert deleted.is_file()
    await asyncio.gather(*(need(found) for found in new))
    assert most <= 2, "the bound holds on the disk too"


async def test_what_an_earlier_process_left_is_deleted_once_and_keeps_nothing_else_waiting(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "cache" / "left.flv"
    left.parent.mkdir()
    left.touch()
    begun, deleted = 0, threading.Event()
    rmtree = shutil.rmtree

    def slowly(path: Path, *, ignore_errors: bool) -> None:
        nonlocal begun
        begun += 1
        assert deleted.wait(10), "the loop goes on meanwhile"
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", slowly)

    async def need(found: Slice) -> int:
        async with library.held(found) as arrival:
            assert arrival is not None
            await until(lambda: arrival.whole)
            return (await library.path(found)).stat().st_size

    cancelled, *others = [asyncio.create_task(need(found)) for found in slices(3)]
    await until(lambda: begun == 1)
    cancelled.cancel()
    await asyncio.sleep(0.05)  # who waits has its turn, if there is one
    assert left.is_file()
    deleted.set()
    assert await asyncio.gather(*others) == [SIZE, SIZE]
    assert (begun, left.exists()) == (1, False)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
