"""Units read and fed by Python: what is fed comes out of every output, and of a subscription, unchanged."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from media._core import CoreError, Feed, Unit, UnitTracks
from media.units import Units
from tests.media.house import House, play, run


@dataclass(frozen=True)
class Frame:
    codec: str
    pts: int
    dts: int
    data: bytes


def frames(path: Path) -> tuple[list[Frame], bytes]:
    """The frames of a file in order of decoding, pictures with start codes; and the sound's configuration."""
    names = {"h264": "H264", "hevc": "H265", "aac": "AAC", "opus": "OPUS", "pcm_alaw": "PCMA"}
    made = []
    with av.open(str(path)) as container:
        config = next((bytes(stream.codec_context.extradata or b"") for stream in container.streams.audio), b"")
        filters = {}
        for video in container.streams.video:
            filters[video.index] = av.BitStreamFilterContext(f"{video.codec_context.name}_mp4toannexb", video)
        for packet in container.demux():
            if not packet.size:
                continue
            stream = packet.stream
            assert packet.pts is not None and packet.dts is not None and packet.time_base is not None
            ticks = [round(time * packet.time_base * 90_000) for time in (packet.pts, packet.dts)]
            filtered = filters[stream.index].filter(packet) if stream.index in filters else [packet]
            made += [Frame(names[stream.codec_context.name], *ticks, bytes(each)) for each in filtered]
    return sorted(made, key=lambda frame: frame.dts), config


@pytest.fixture(scope="session")
def opus_clip(clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("opus") / "opus.mp4"
    run("-i", str(clips["libx264"]), "-c:v", "copy", "-c:a", "libopus", "-ac", "2", str(path))
    return path


def parts(data: bytes) -> list[bytes]:
    """NAL units, however long their start codes are; sound has none."""
    return data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")


async def feed_all(feed: Feed, given: list[Frame]) -> None:
    """Faster than real time, yet within what may wait."""
    for frame in given:
        assert feed.push(frame.codec, frame.pts, frame.dts, frame.data)
        await asyncio.sleep(0.002)


async def read_all(units: Units) -> list[Unit | UnitTracks]:
    async with asyncio.timeout(20):
        return [unit async for unit in units]


@pytest.mark.parametrize("coding", ["AAC", "OPUS"])
async def test_what_is_fed_is_read_unchanged(
    house: House, clips: dict[str, Path], opus_clip: Path, coding: str
) -> None:
    given, config = frames(clips["libx264"] if coding == "AAC" else opus_clip)
    feed = house.relay.open_feed("live", "cam", transport="whip", private=False)
    units = house.relay.subscribe(feed.id, protocol="whep")
    feed.announce_audio(coding, channels=2, config=config if coding == "AAC" else b"")
    reader = asyncio.create_task(read_all(units))
    await feed_all(feed, given)
    stream = house.stream("cam")
    assert (stream.transport, stream.payload, stream.audio_codec) == ("whip", "units", coding)
    assert stream.viewers["whep"] == 1
    feed.close("enough")
    tracks, *rest = await reader
    assert isinstance(tracks, UnitTracks)
    assert (tracks.video, tracks.audio, tracks.width, tracks.sps[0] & 0x1F) == ("H264", coding, 320, 7)
    assert tracks.sample_rate == (48_000 if coding == "OPUS" else 44_100)
    got = [unit for unit in rest if isinstance(unit, Unit)]
    for kind, codec in (("video", "H264"), ("audio", coding)):
        sent = [frame for frame in given if frame.codec == codec]
        came = [unit for unit in got if unit.kind == kind]
        assert [parts(unit.data) for unit in came] == [parts(frame.data) for frame in sent]
        starts = came[0].dts_90k - sent[0].dts
        assert all(abs(unit.pts_90k - frame.pts - starts) <= 1 for unit, frame in zip(came, sent, strict=True))
    assert [unit.key for unit in got if unit.kind == "video"].count(True) == 1
    assert (await house.event("ended")).detail["reason"] == "enough"
    with pytest.raises(CoreError):
        feed.push("H264", 0, 0, b"\0\0\0\1\x09\xf0")


async def test_opus_goes_out_by_rtsp_and_fragmented_mp4(house: House, opus_clip: Path) -> None:
    given, _ = frames(opus_clip)
    feed = house.relay.open_feed("live", "cam", transport="derived", private=False)
    feed.announce_audio("OPUS", channels=2)
    feeding = asyncio.create_task(feed_all(feed, given))
    await house.event("first_key_frame")
    by_rtsp = asyncio.create_task(asyncio.to_thread(play, house.rtsp_url("cam"), rtsp_transport="tcp"))
    await feeding
    await asyncio.sleep(0.2)
    feed.close("enough")
    played = await by_rtsp
    assert played.codecs == {"video": "h264", "audio": "opus"}
    assert played.pictures == play(str(opus_clip)).pictures
    sent = play(str(opus_clip)).sound
    assert played.sound and set(played.sound) <= set(sent)


async def test_nonsense_is_refused(house: House) -> None:
    feed = house.relay.open_feed("live", "cam", transport="whip")
    with pytest.raises(ValueError, match="no coding"):
        feed.push("MP3", 0, 0, b"x")
    with pytest.raises(ValueError, match="cannot be read"):
        feed.announce_audio("AAC")
    with pytest.raises(CoreError):
        house.relay.open_feed("live", "cam", transport="whip")
    house.relay.close_receiver(feed.id)
    async with asyncio.timeout(20):
        while True:
            try:
                feed.push("PCMA", 0, 0, b"x")
            except CoreError:
                break
            await asyncio.sleep(0.01)


async def test_a_stream_has_room_for_so_many(house: House) -> None:
    feed = house.relay.open_feed("live", "cam", transport="whip", viewers_max=1)
    first = house.relay.subscribe(feed.id, protocol="whep")
    with pytest.raises(CoreError, match="as many viewers"):
        house.relay.subscribe(feed.id, protocol="whep")
    house.relay.subscribe(feed.id).close()
    first.close()
    async with asyncio.timeout(20):  # its place is free with the next second
        while True:
            try:
                house.relay.subscribe(feed.id, protocol="whep").close()
                break
            except CoreError:
                await asyncio.sleep(0.05)
