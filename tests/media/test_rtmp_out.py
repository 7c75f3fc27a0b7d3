"""RTMP the other way: streams pushed to ffmpeg and nginx and pulled from them, packet by packet as they were."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from media._core import CoreError, Event
from tests.media.house import HOST, REMUX, House
from tests.media.ports import listening
from tests.media.test_pull import digests, film
from tests.ports import free_port

NGINX = """
daemon off; master_process off; worker_processes 1; user root;
pid {folder}/nginx.pid; error_log {folder}/error.log;
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
events {{ }}
rtmp {{ server {{ listen {host}:{port}; application live {{ live on; record off;
  {rule} }} }} }}
"""


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "source.flv"
    film(path)
    return path


@asynccontextmanager
async def process(*command: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ended with the block, if it did not end by itself."""
    running = await asyncio.create_subprocess_exec(*command)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), 10)


def ffmpeg(*arguments: str | Path) -> list[str | Path]:
    return ["ffmpeg", "-y", "-v", "error", *arguments]


def of_push(house: House) -> list[str]:
    return [event.kind for event in house.events if event.kind.startswith("push_")]


def pushing(url: str, house: House, event: Event) -> None:
    house.relay.open_push(house.accept(event), url, allow_private=True)


async def test_ffmpeg_takes_every_packet_as_it_was(house: House, source: Path, tmp_path: Path) -> None:
    out, port = tmp_path / "out.flv", free_port()
    url = f"rtmp://{HOST}:{port}/live/cam?key=secret"
    house.decide = lambda house, event: pushing(url, house, event)
    async with process(*ffmpeg("-listen", "1", "-f", "flv", "-i", url, "-c", "copy", "-f", "flv", out)) as server:
        await listening(port)
        async with process(*ffmpeg("-re", "-i", source, "-c", "copy", "-f", "flv", house.url("cam"))) as sender:
            connected = await house.event("push_connected")
            assert connected.detail["peer"] == f"{HOST}:{port}"
            [push] = house.relay.pushes()
            assert (push.state, push.url, push.failures) == ("pushing", f"rtmp://{HOST}:{port}/live/cam…", 0)
            assert house.stream("cam").viewers["rtmp"] == 0
            await asyncio.wait_for(sender.wait(), 20)
        ended = await house.event("push_ended")
        assert ended.detail == {"push": str(push.id), "reason": "the stream is over", "cause": "stream_over"}
        await asyncio.wait_for(server.wait(), 10)
    assert await asyncio.to_thread(digests, out) == await asyncio.to_thread(digests, source)
    assert "secret" not in repr([event for event in house.events if event.kind.startswith("push_")])


async def test_ffmpeg_is_played_from_and_its_packets_come_out_as_they_were(
    house: House, source: Path, tmp_path: Path
) -> None:
    out, port = tmp_path / "out.flv", free_port()
    url = f"rtmp://{HOST}:{port}/live/film"
    async with process(*ffmpeg("-re", "-i", source, "-c", "copy", "-listen", "1", "-f", "flv", url)):
        house.relay.open_pull("live", "copy", url, private=False, allow_private=True)
        await house.event("first_key_frame")
        async with process(*ffmpeg("-i", house.url("copy"), "-c", "copy", "-f", "flv", out)) as player:
            lost = await house.event("disconnected")
            assert lost.detail["cause"] == "ended"
            house.relay.close_receiver(lost.receiver)
            await asyncio.wait_for(player.wait(), 10)
    assert house.relay.stream("live", "copy") is None
    assert await asyncio.to_thread(digests, out) == await asyncio.to_thread(digests, source)


@contextmanager
def nginx(folder: Path, port: int, rule: str = "") -> Iterator[list[str | Path]]:
    """The command of an RTMP server with this rule."""
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, host=HOST, port=port, rule=rule), encoding="ascii")
    yield [shutil.which("nginx") or "/usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", conf]


async def test_nginx_is_pushed_to_through_its_restart_and_hands_on_what_came(
    house: House, source: Path, tmp_path: Path
) -> None:
    out, port = tmp_path / "out.flv", free_port()
    url = f"rtmp://{HOST}:{port}/live/cam"
    house.decide = lambda house, event: pushing(url, house, event)
    loop = ffmpeg("-re", "-stream_loop", "-1", "-i", source, "-c", "copy", "-f", "flv", house.url("cam"))
    with nginx(tmp_path, port) as command:
        async with process(*command):
            await accepting(port)
            sender = await asyncio.create_subprocess_exec(*loop)
            try:
                await house.event("push_connected")
                await until_bytes(house, 50_000)
            except BaseException:
                sender.kill()
                raise
        async with ended(sender), process(*command):
            lost = await house.event("push_failed")
            # Who ends with bytes unread resets the connection.
            assert lost.detail["cause"] in {"ended", "broken"}
            await house.event("push_connected")
            async with process(*ffmpeg("-i", url, "-t", "1", "-c", "copy", "-f", "flv", out)) as player:
                await asyncio.wait_for(player.wait(), 30)
            # And back again, from nginx.
            house.relay.open_pull("live", "copy", url, private=False, allow_private=True)
            copied = await house.event("first_key_frame")
            while copied.name != "copy":
                copied = await house.event("first_key_frame")
            [push] = house.relay.pushes()
            assert (push.state, push.failures >= 1) == ("pushing", True)
    played = await asyncio.to_thread(digests, out)
    sent = await asyncio.to_thread(digests, source)
    assert len(played) >= 15
    assert set(played) <= set(sent)


async def accepting(port: int) -> None:
    """Returns when somebody listens there: each try before that doubles the wait for the next one."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


@asynccontextmanager
async def ended(running: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Ends what runs with the block."""
    try:
        yield
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), 10)


async def until_bytes(house: House, bytes_out: int) -> None:
    async with asyncio.timeout(30):
        while sum(push.bytes_out for push in house.relay.pushes()) < bytes_out:  # noqa: ASYNC110  (a thread of Rust)
            await asyncio.sleep(0.02)


async def test_nginx_refuses_and_is_quoted(house: House, source: Path, tmp_path: Path) -> None:
    port = free_port()
    house.decide = lambda house, event: pushing(f"rtmp://{HOST}:{port}/other/cam", house, event)
    with nginx(tmp_path, port) as command:
        async with (
            process(*command),
            process(*ffmpeg("-re", "-i", source, "-c", "copy", "-f", "flv", house.url("cam"))),
        ):
            failed = await house.event("push_failed")
            while failed.detail["cause"] == "connection_refused":
                failed = await house.event("push_failed")
            assert failed.detail["cause"] in ("refused", "ended")


async def test_h265_goes_in_either_form(house: House, clips: dict[str, Path]) -> None:
    """To ourselves: one push in the enhanced form, one under codec id 12, both read back as H.265."""

    def decide(house: House, event: Event) -> None:
        receiver = house.accept(event)
        if event.detail["name"] == "cam":
            for query in ("", "?codec=12"):
                name = "old" if query else "new"
                house.relay.open_push(receiver, house.url(name, query), allow_private=True)

    house.decide = decide
    async with process(sys.executable, "-c", REMUX, clips["libx265"], house.url("cam")):
        shown = {"cam", "new", "old"}
        async with asyncio.timeout(15):
            while shown:
                event = await house.event("tracks")
                if event.detail["video"] == "H265":
                    shown.discard(event.name)
    queries = {event.detail["name"]: event.detail["query"] for event in house.events if event.kind == "publish"}
    assert queries == {"cam": "", "new": "", "old": ""}


async def test_what_cannot_be_pushed_is_refused(house: House) -> None:
    with pytest.raises(CoreError):
        house.relay.open_push(4711, "rtmp://example.org/live/cam")
    feed = house.relay.open_feed("live", "idle", transport="whip")
    del feed
    assert house.relay.pushes() == []
    assert of_push(house) == []
