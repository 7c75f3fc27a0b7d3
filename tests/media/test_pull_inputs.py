"""Several inputs of one pulled stream: one takes over from another, and programs bring what we do not fetch."""

import asyncio
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from media._core import Event, UnknownReceiverError
from tests.media.house import HOST, play
from tests.media.test_play_forms import http
from tests.media.test_pull import kinds, listen, relay_at, until

FILM = [
    "-re", "-f", "lavfi", "-i", "testsrc=size=320x192:rate=25", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10",
    "-f", "mpegts",
]  # fmt: skip


def feed(*options: str) -> list[str]:
    """A program that brings test pictures in real time."""
    return ["ffmpeg", "-v", "error", *FILM, *options, "-"]


def of(events: list[Event], kind: str) -> list[dict[str, str]]:
    return [event.detail for event in events if event.kind == kind]


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is still listed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # also between opening and reading
        return False


async def test_a_program_is_a_source_and_ends_with_its_stream(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"echo $$ > {note}; exec " + " ".join(f"'{part}'" for part in feed())
    async with relay_at(24200) as relay:
        events = listen(relay)
        pulled = relay.open_pull("test", "made", "srt://h:9000?passphrase=secret", command=["sh", "-c", script])
        await until(lambda: "first_key_frame" in kinds(events))
        stream = relay.stream("test", "made")
        assert stream is not None
        assert (stream.transport, stream.payload, stream.width) == ("child", "ts", 320)
        assert of(events, "connecting")[0]["url"] == "srt://h:9000?…"
        pid = int(note.read_text())
        assert lives(pid)
        relay.close_receiver(pulled.id)
        await until(lambda: not lives(pid))
        note.unlink()
        relay.open_pull("test", "again", "srt://h:9000", command=["sh", "-c", script])
        await until(lambda: note.exists() and note.read_text().strip() != "")
        pid = int(note.read_text())
    await until(lambda: not lives(pid))


async def test_the_last_words_of_a_program_are_the_reason_and_it_is_begun_again(tmp_path: Path) -> None:
    code = "import sys; print('first line', file=sys.stderr); sys.exit('cannot open the input')"
    async with relay_at(24300) as relay:
        events = listen(relay)
        relay.open_pull("test", "bad", "srt://h", command=[sys.executable, "-c", code])
        relay.open_pull("test", "none", "srt://h", command=[str(tmp_path / "no such program")])
        await until(lambda: len(of(events, "connect_failed")) >= 4)
    reasons = {event.name: event.detail for event in events if event.kind == "connect_failed"}
    assert reasons["bad"]["cause"] == reasons["none"]["cause"] == "program"
    assert "exit status: 1: first line | cannot open the input" in reasons["bad"]["reason"]
    assert "cannot be started" in reasons["none"]["reason"]


@pytest.mark.parametrize("ready", [True, False])
async def test_another_input_takes_over_and_viewers_stay(tmp_path: Path, ready: bool) -> None:
    out = tmp_path / "out.flv"
    async with relay_at(24400) as relay:
        events = listen(relay)
        door = relay.listen_http(HOST, 0, "/nonexistent")
        first = {"command": feed("-t", "3"), "label": "1"}
        pulled = relay.open_pull("test", "film", "made:1", private=False, **first)  # type: ignore[arg-type]
        viewer = asyncio.create_task(http(f"http://{HOST}:{door}/test/film.live.flv"))
        other = feed("-metadata", "title=other")
        if ready:
            relay.standby_pull(pulled.id, [("2", "made:2", (), "tcp", other)])
            await until(lambda: of(events, "standby_connected") != [])
            assert of(events, "standby_connected")[0]["input"] == "2"
        await until(lambda: "disconnected" in kinds(events))
        before = len(events)
        relay.switch_pull(pulled.id, "made:2", command=other, label="2")
        await until(lambda: "connected" in kinds(events[before:]))
        switched = of(events, "switched")[0]
        assert (switched["input"], switched["ready"]) == ("2", str(int(ready)))
        assert relay.streams()[0].viewers["http-flv"] == 1
        await asyncio.sleep(2)
        relay.close_receiver(pulled.id)
        out.write_bytes(await asyncio.wait_for(viewer, 10))
        with pytest.raises(UnknownReceiverError):
            relay.switch_pull(pulled.id, "made:1", command=feed())
    played = await asyncio.to_thread(play, str(out))
    times = played.times["video"]
    assert len(times) > 100
    assert all(later >= earlier for earlier, later in pairwise(times)), "FLV counts milliseconds"
    longest = max(later - earlier for earlier, later in pairwise(times))
    assert longest < (700 if ready else 3000), "the clock goes on"
    assert len(played.pictures) == len(times), "every picture can be decoded"


async def test_inputs_that_stand_by_and_fail_are_told_and_tried_again() -> None:
    async with relay_at(24500) as relay:
        events = listen(relay)
        pulled = relay.open_pull("test", "film", "made:1", command=feed(), label="1")
        relay.standby_pull(pulled.id, [("2", "made:2", (), "tcp", ["false"])])
        await until(lambda: len(of(events, "standby_failed")) >= 2)
        detail = of(events, "standby_failed")[0]
        assert (detail["input"], detail["cause"]) == ("2", "program")
        relay.standby_pull(pulled.id, [])
        await until(lambda: "first_key_frame" in kinds(events))
