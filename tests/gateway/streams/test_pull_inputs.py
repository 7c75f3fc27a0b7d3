"""Inputs of pulled streams over the relay itself: each switch happens, and is written down."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.errors import InvalidError
from gateway.media_event import MediaEvent
from gateway.streams.inputs import BackupType, Input
from gateway.streams.model import AccessType, StreamEvent
from gateway.streams.programs import Programs
from gateway.streams.pull_inputs import PullInputs
from media.relay import Relay
from tests.gateway.media_events import Event
from tests.gateway.streams.samples import NOW, stream


class History:
    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def put(self, event: StreamEvent) -> None:
        self.events.append(event)


class Made(Programs):
    """ffmpeg makes pictures instead of fetching them; an address with `broken` in it is none."""

    def command(self, url: str) -> tuple[str, ...]:
        made = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x96:rate=25", "-c:v", "libx264"]
        made += ["-preset", "ultrafast", "-g", "10", "-f", "mpegts", "-"]
        return ("false",) if "broken" in url else tuple(made)


async def until(good: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not good():  # noqa: ASYNC110  (the other side is a thread of Rust)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("backup", [BackupType.ACTIVE, BackupType.PASSIVE])
async def test_a_backup_takes_over_from_a_broken_input_and_one_may_be_chosen(backup: BackupType) -> None:
    history = History()
    record = stream(access_type=AccessType.HTTP_FLV, url="made:broken")
    async with Relay(play_key=b"key", rtp_host="127.0.0.1", rtp_port_min=24600, rtp_port_max=24699, threads=1) as relay:
        inputs = PullInputs(relay, history, lambda: NOW, programs=Made(), return_after=None)  # type: ignore[arg-type]
        kinds: list[str] = []
        relay.listen(lambda event: (kinds.append(event.kind), inputs.handle_media(event)))
        pulled = relay.open_pull(
            record.app, record.name, "made:broken", command=Made().command("made:broken"), label="1"
        )
        inputs.begin(record, pulled.id, [Input(2, "made:two", backup), Input(3, "made:3", BackupType.DISABLED)])
        await until(lambda: "first_key_frame" in kinds)
        assert [(event.after, event.cause) for event in history.events[:1]] == [("INPUT 2", "SWITCH_FAILED")]
        assert [view.input.number for view in inputs.look(pulled.id) if view.active] == [2]
        with pytest.raises(InvalidError):
            inputs.choose(pulled.id, 3)
        inputs.choose(pulled.id, 1)
        assert history.events[-1].cause == "SWITCH_MANUAL"
        await until(lambda: history.events[-1].cause == "SWITCH_FAILED")
        assert inputs.switches == {"FAILED": 2, "RETURNED": 0, "MANUAL": 1}
        inputs.forget(pulled.id)
        assert inputs.look(pulled.id) == []


async def test_inputs_that_connect_and_stay_mute_are_left_in_turn_for_one_that_flows() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n")
        with suppress(OSError):
            await reader.read()  # until the relay leaves
        writer.close()

    class Mixed(Made):
        def command(self, url: str) -> tuple[str, ...]:
            return () if url.startswith("http:") else super().command(url)

    server, history = await asyncio.start_server(answer, "127.0.0.1", 0), History()
    mute = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    record = stream(access_type=AccessType.HTTP_FLV, url=mute + "1")
    async with server, Relay(play_key=b"key", rtp_host="127.0.0.1", threads=1, silence_ms=300) as relay:
        inputs = PullInputs(relay, history, lambda: NOW, programs=Mixed(), return_after=None)  # type: ignore[arg-type]
        kinds: list[str] = []
        relay.listen(lambda event: (kinds.append(event.kind), inputs.handle_media(event)))
        pulled = relay.open_pull(record.app, record.name, mute + "1", allow_private=True, label="1")
        passive = BackupType.PASSIVE
        inputs.begin(record, pulled.id, [Input(2, mute + "2", passive), Input(3, "made:3", passive)])
        await until(lambda: "first_key_frame" in kinds)
        told = [(event.after, event.cause, event.detail) for event in history.events]
        assert told == [("INPUT 2", "SWITCH_FAILED", "nothing comes"), ("INPUT 3", "SWITCH_FAILED", "nothing comes")]
        assert kinds.count("silent") >= 2, "of each connection by itself"
        inputs.forget(pulled.id)


class Switchboard:
    """A relay that does what it is told, and tells of it when the test says so."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def switch_pull(self, receiver: int, url: str, *, label: str, **_: object) -> None:
        self.labels.append(label)

    def standby_pull(self, receiver: int, inputs: object) -> None:
        pass


async def test_silence_from_before_an_input_connected_is_not_its_own() -> None:
    board = Switchboard()
    inputs = PullInputs(board, History(), lambda: NOW, return_after=None)  # type: ignore[arg-type]
    backup = Input(2, "http://h/2", BackupType.PASSIVE)
    inputs.begin(stream(access_type=AccessType.HTTP_FLV, url="http://h/1"), 7, [backup])

    def tell(kind: str, **detail: str) -> int:
        """The input that feeds the stream then."""
        inputs.handle_media(Event(kind, 7, detail=detail))
        return next(view.input.number for view in inputs.look(7) if view.active)

    assert tell("connect_failed", input="1") == 2
    assert tell("connected", peer="h") == 2, "that was still of the first"
    assert tell("silent") == 2
    assert tell("switched", input=board.labels[-1]) == 2
    assert tell("silent") == 2, "the second still connects"
    assert tell("connected", peer="h") == 2
    inputs.begin(stream(access_type=AccessType.HTTP_FLV, url="http://h/1"), 7, [backup])
    inputs.choose(7, 2)
    tell("switched", input=board.labels[-1])
    tell("connected", peer="h")
    assert tell("silent") == 1


@dataclass(frozen=True)
class Noted(Made):
    """Each leaves the number of its process, by its address."""

    place: Path = Path()

    def command(self, url: str) -> tuple[str, ...]:
        return ("sh", "-c", f'echo $$ > {self.place / url}; exec "$@"', "sh", *super().command(url))

    def lives(self, url: str) -> bool:
        """Whether it runs; one that has ended and is still listed does not."""
        try:
            pid = (self.place / url).read_text().strip()
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):  # also between opening and reading
            return False


async def test_inputs_of_a_running_stream_change_and_only_what_changed_begins_or_ends(tmp_path: Path) -> None:
    record = stream(access_type=AccessType.HTTP_FLV, url="made:one")
    programs = Noted(place=tmp_path)
    async with Relay(play_key=b"key", rtp_host="127.0.0.1", rtp_port_min=24600, rtp_port_max=24699, threads=1) as relay:
        inputs = PullInputs(relay, History(), lambda: NOW, programs=programs, return_after=None)  # type: ignore[arg-type]
        told: list[str] = []

        def hear(event: MediaEvent) -> None:
            if event.kind == "standby_connected":
                told.append(event.detail["input"])
            inputs.handle_media(event)

        relay.listen(hear)
        pulled = relay.open_pull(record.app, record.name, "made:one", command=programs.command("made:one"), label="1")

        def ready() -> list[int]:
            return [view.input.number for view in inputs.look(pulled.id) if view.ready]

        two, three = (Input(number, f"made:{number}", BackupType.ACTIVE) for number in (2, 3))
        inputs.begin(record, pulled.id, [two])
        await until(lambda: ready() == [2])
        inputs.begin(record, pulled.id, [two, three])
        assert ready() == [2]
        await until(lambda: ready() == [2, 3])
        assert told == ["2", "3"], "what goes on is not told again"
        assert programs.lives(two.url)
        assert programs.lives(three.url)
        inputs.begin(record, pulled.id, [])
        await until(lambda: not programs.lives(two.url) and not programs.lives(three.url))
        assert programs.lives("made:one")


def test_a_program_is_run_only_for_what_is_allowed_and_without_a_shell() -> None:
    programs = Programs(protocols=frozenset({"srt", "rtsp"}), arguments=("-timeout", "5"))
    for url in ("http://h/", "rtsp://h/", "file:///etc/passwd", "concat:a|b", "ffmpeg+http://h/"):
        assert programs.command(url) == (), url
    command = programs.command("srt://h:9000?x=$(reboot);'")
    assert "srt://h:9000?x=$(reboot);'" in command
    assert command[command.index("-protocol_whitelist") + 1] == "pipe,rtp,rtsp,srt,tcp,tls,udp"
    assert "rtsp://h/a" in programs.command("ffmpeg+rtsp://h/a")
    assert Programs().command("srt://h") == ()
